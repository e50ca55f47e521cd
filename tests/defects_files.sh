#!/bin/sh
# defects_files.sh - every deliberate defect of the files' part must be caught by a test.
#
#   tests/defects_files.sh [DEFECT...]
#
# Each `ST_DEFECT_...` that src/files and src/lib know of views is compiled in, one at a time; then
# test_lib_views must fail. First it must pass without a defect. One line per defect.
# Environment: CC (cc).
set -eu
cd "$(dirname "$0")/.."
cc=${CC:-cc}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT INT TERM
flags="-std=gnu17 -D_GNU_SOURCE -O1 -fno-strict-aliasing -Isrc -Iinclude -Itests"
changing="src/files/replace.c src/files/view_facts.c src/files/view_heartbeat.c src/lib/files.c"

# Merging JSON Lines is of the program, and needs jansson.
sources=$(sed -n "s/^ *'\(\(core\|store\|strong\|sync\|files\|lib\)\/[a-z_]*\.c\)',.*/src\/\1/p" src/meson.build |
    grep -v 'files/json')
for f in $sources tests/lib_world.c tests/test_lib_views.c; do
    case " $changing " in
    *" $f "*) continue ;;
    esac
    # shellcheck disable=SC2086
    $cc $flags -c "$f" -o "$dir/$(echo "$f" | tr / _).o"
done

build() { # build [DEFINE]
    for f in $changing; do
        # shellcheck disable=SC2086
        $cc $flags ${1:+"-D$1"} -c "$f" -o "$dir/$(echo "$f" | tr / _).o"
    done
    $cc -Wl,--wrap=st_env_posix "$dir"/*.o -lcmocka -lsqlite3 -lxxhash -o "$dir/test"
}

# The first test that fails, or nothing.
first_failure() {
    if ! timeout 100 "$dir/test" >"$dir/out" 2>&1; then
        grep -a '^\[  FAILED  \] test_' "$dir/out" | head -n 1 | cut -c14-
    fi
}

build
failure=$(first_failure)
if [ -n "$failure" ]; then
    echo "without a defect fails: $failure"
    exit 1
fi
echo "none: passes"
defects=$*
# shellcheck disable=SC2086
[ -n "$defects" ] || defects=$(grep -oh 'ST_DEFECT_[A-Z_]*' $changing | sort -u)
[ -n "$defects" ] || { echo "no defects found"; exit 1; }
missed=0
for d in $defects; do
    build "$d" 2>/dev/null
    failure=$(first_failure)
    if [ -n "$failure" ]; then
        echo "$d: caught ($failure)"
    else
        echo "$d: NOT CAUGHT"
        missed=1
    fi
done
exit "$missed"
