#!/bin/sh
# defects_lib.sh - every deliberate defect of the index, of intake and of the tasks must be caught by a
# test of the library.
#
#   tests/defects_lib.sh [DEFECT...]
#
# Each `ST_DEFECT_...` that src/store/index*.c, intake.c and lib/task*.c know is compiled in, one at a time; one of
# the tests must then fail. First all must pass without a defect. One line per defect.
# Environment: CC (cc), TESTS: which of the tests.
set -eu
cd "$(dirname "$0")/.."
cc=${CC:-cc}
tests=${TESTS:-merge index identity write tasks gap}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT INT TERM

# Small segments: several to a log.
flags="-std=gnu17 -D_GNU_SOURCE -O1 -fno-strict-aliasing -DST_SEGMENT_SIZE=4096 -Isrc -Iinclude -Itests"
changing="src/store/index.c src/store/index_apply.c src/store/index_history.c src/store/index_near.c
    src/store/index_rows.c src/store/intake.c src/lib/tasks.c src/lib/task_copy.c src/lib/task_claims.c"

# Merging JSON Lines is of the program, and needs jansson.
sources=$(sed -n "s/^ *'\(\(core\|store\|strong\|sync\|files\|lib\)\/[a-z_]*\.c\)',.*/src\/\1/p" src/meson.build |
    grep -v 'files/json')
for f in $sources tests/lib_world.c; do
    # shellcheck disable=SC2086,SC2116 # one space between two names
    case " $(echo $changing) " in
    *" $f "*) continue ;;
    esac
    # shellcheck disable=SC2086
    $cc $flags -c "$f" -o "$dir/$(echo "$f" | tr / _).o"
done
for t in $tests; do
    # shellcheck disable=SC2086
    $cc $flags -c "tests/test_lib_$t.c" -o "$dir/test_$t.main"
done

build() { # build [DEFINE]
    for f in $changing; do
        # shellcheck disable=SC2086
        $cc $flags ${1:+"-D$1"} -c "$f" -o "$dir/$(echo "$f" | tr / _).o"
    done
    for t in $tests; do
        $cc -Wl,--wrap=st_env_posix -x none "$dir/test_$t.main" "$dir"/*.o -lcmocka -lsqlite3 \
            -lxxhash -o "$dir/test_$t"
    done
}

# The first test that fails, or nothing.
first_failure() {
    for t in $tests; do
        if ! timeout 60 "$dir/test_$t" >"$dir/out" 2>&1; then
            grep -a '^\[  FAILED  \] test_' "$dir/out" | head -n 1 | cut -c14- || true
            echo "test_lib_$t"
            return
        fi
    done
}

build
failure=$(first_failure | tr '\n' ' ')
if [ -n "$failure" ]; then
    echo "without a defect fails: $failure"
    grep -a 'ERROR' "$dir/out" | head -n 3
    exit 1
fi
echo "none: passes"

defects=$*
# shellcheck disable=SC2086
[ -n "$defects" ] || defects=$(grep -oh 'ST_DEFECT_[A-Z_]*' $changing | sort -u)
[ -n "$defects" ] || { echo "no defects found"; exit 1; }
missed=0
for d in $defects; do
    build "$d"
    failure=$(first_failure | tr '\n' ' ')
    if [ -n "$failure" ]; then
        echo "$d: caught ($failure)"
    else
        echo "$d: NOT CAUGHT"
        missed=1
    fi
done
exit "$missed"
