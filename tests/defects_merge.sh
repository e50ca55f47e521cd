#!/bin/sh
# defects_merge.sh - is the judge of merges able to find losses?
#
# Builds the program with one deliberate defect of src/files each (ST_DEFECT_*, never defined in a normal
# build) and lets tests/merge_judge.py look at random merges. A defect that it misses fails this
# script.
#
# usage: tests/defects_merge.sh [compiler]
set -eu

cd "$(dirname "$0")/.."
cc=${1:-${CC:-cc}}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT INT TERM

merge="src/files/jsonl.c src/files/jsonl_fields.c"
defects="DROP_ADDITION RESURRECT OURS_ALWAYS DUPLICATE_ID"
flags="-std=gnu17 -O1 -w -D_GNU_SOURCE -fno-strict-aliasing -Iinclude -Isrc"

# shellcheck disable=SC2086 # lists of words
used=$(grep -ho 'ST_DEFECT_[A-Z_]*' $merge | sed 's/ST_DEFECT_//' | sort -u | tr '\n' ' ')
# shellcheck disable=SC2086
listed=$(printf '%s\n' $defects | sort | tr '\n' ' ')
if [ "$used" != "$listed" ]; then
    echo "defects in the sources: $used- but tried here: $listed" >&2
    exit 1
fi

# The rest of the program once.
mkdir "$dir/objects"
for source in src/core/*.c src/store/*.c src/strong/*.c src/sync/*.c src/lib/*.c src/edge/*.c \
    src/mcp/*.c src/cli/*.c src/files/*.c; do
    case " $merge " in *" $source "*) continue ;; esac
    # shellcheck disable=SC2086
    "$cc" $flags -c "$source" -o "$dir/objects/$(echo "$source" | tr '/' '_').o"
done

# judge DEFECT: builds with it (may be empty) and judges
judge() {
    # shellcheck disable=SC2086
    "$cc" $flags ${1:+-DST_DEFECT_$1} $merge "$dir"/objects/*.o -ljansson -lsqlite3 -lxxhash \
        -o "$dir/strata"
    python3 tests/merge_judge.py "$dir/strata" --random 30 >"$dir/out" 2>&1
}

if ! judge ""; then
    echo "the judge complains without any defect" >&2
    exit 1
fi
missed=0
for defect in $defects; do
    if judge "$defect" || ! grep -q '^losses: [1-9]' "$dir/out"; then
        echo "MISSED  $defect"
        missed=1
    else
        echo "caught  $defect: $(sed -n 's/^losses: //p' "$dir/out")"
    fi
done
exit "$missed"
