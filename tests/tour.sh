#!/bin/sh
# tour.sh - the five-minute tour of README.md is what really happens: runs its commands in a fresh
# directory and compares the output, with times, ids, hashes and sizes made alike.
#
#   STRATA=build/strata tests/tour.sh            compare
#   STRATA=build/strata tests/tour.sh --write    put the real output into README.md
#
# Between the markers <!-- tour --> and <!-- /tour -->, in blocks marked console: a line "$ COMMAND"
# is run by sh, what follows up to the next such line or the end of the block is its output, standard
# output and standard error as a terminal would show them. All blocks are one session in one directory.
set -eu

: "${STRATA:?path of the program}"
cd "$(dirname "$0")/.."
readme=$PWD/README.md
case $STRATA in
/*) ;;
*) STRATA=$PWD/$STRATA ;;
esac
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT INT TERM
unset STRATA_DIR STRATA_STATE_DIR STRATA_AGENT

mkdir "$dir/bin" "$dir/project"
ln -s "$STRATA" "$dir/bin/strata"
PATH=$dir/bin:$PATH
cd "$dir/project"

# The tour as it is, and as it would be with today's output.
sed -n '/^<!-- tour -->$/,/^<!-- \/tour -->$/p' "$readme" >"$dir/written"
in_block=false
while IFS= read -r line; do
    case $line in
    '```console') in_block=true ;;
    '```') in_block=false ;;
    '$ '*)
        if $in_block; then
            printf '%s\n' "$line"
            sh -c "${line#\$ }" 2>&1 </dev/null || true
            continue
        fi
        ;;
    esac
    if ! $in_block || [ "$line" = '```console' ]; then
        printf '%s\n' "$line"
    fi
done <"$dir/written" >"$dir/real"

commands=$(grep -c '^\$ ' "$dir/written" || true)
if [ "$commands" -lt 10 ]; then
    echo "tour.sh: only $commands commands found in README.md" >&2
    exit 1
fi

# Which copy comes first is up to the random ids: neighbours of one kind are sorted.
alike() {
    sed -E \
        -e "s|$dir/|/home/ann/|g" \
        -e 's/[0-9a-f]{32}/HASH/g; s/[0-9a-f]{16}/ID/g; s/\bc[0-9a-f]{8}\b/PENDING/g' \
        -e 's/[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]*Z/TIME/g' \
        -e 's/just now|[0-9]+ (s|min|h) ago/AGO/g; s/[0-9]+ bytes/N bytes/g' \
        -e 's/^  [0-9]\) /  N) /' "$1" |
        awk 'function flush(  i, j, t) {
                 for (i = 2; i <= n; i++)
                     for (j = i; j > 1 && held[j - 1] > held[j]; j--) {
                         t = held[j]; held[j] = held[j - 1]; held[j - 1] = t
                     }
                 for (i = 1; i <= n; i++) print held[i]
                 n = 0
             }
             /^(copy |ok |  N\) )/ {
                 kind = substr($0, 1, 3)
                 if (kind != last) flush()
                 last = kind; held[++n] = $0; next
             }
             { flush(); last = ""; print }
             END { flush() }'
}

if [ "${1:-}" = --write ]; then
    sed -i "s|$dir/|/home/ann/|g" "$dir/real"
    sed -e '/^<!-- tour -->$/,/^<!-- \/tour -->$/{/^<!-- \/tour -->$/r '"$dir/real" -e 'd}' \
        "$readme" >"$dir/readme"
    cat "$dir/readme" >"$readme"
    exit 0
fi
alike "$dir/written" >"$dir/written.alike"
alike "$dir/real" >"$dir/real.alike"
if ! diff -u "$dir/written.alike" "$dir/real.alike"; then
    echo "tour.sh: README.md shows something else than what happens (tests/tour.sh --write)" >&2
    exit 1
fi
