#!/bin/sh
# defects_store.sh - every deliberate defect of src/store must be caught by the simulator test.
#
#   tests/defects_store.sh [DEFECT...]
#
# Each `ST_DEFECT_...` that src/store's log files know is compiled in, one at a time; the test
# must then fail. First the same test without a defect must pass. One line per defect.
# Environment: CC (cc), SRC (src), ARGS: arguments of the test.
set -eu
cd "$(dirname "$0")/.."
cc=${CC:-cc}
src=${SRC:-src}
args=${ARGS:--q -n 1500}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT INT TERM

flags="-std=gnu17 -D_GNU_SOURCE -O1 -fno-strict-aliasing -DST_SEGMENT_SIZE=4096 -I$src -Iinclude -I. -Itests"

# Everything but the kernel is the same each time.
for f in sim/*.c tests/log_model.c tests/log_cases.c tests/test_log_sim.c "$src"/core/base.c \
    "$src"/core/clock.c "$src"/core/record*.c "$src"/store/fault.c; do
    # shellcheck disable=SC2086
    $cc $flags -c "$f" -o "$dir/$(basename "$f" .c).o"
done

build() { # build OUTPUT [DEFINE]
    # shellcheck disable=SC2086
    $cc $flags -w ${2:+"-D$2"} "$src"/store/log_*.c "$dir"/*.o -lxxhash -o "$1"
}

build "$dir/test"
# shellcheck disable=SC2086
if ! "$dir/test" $args >"$dir/out" 2>&1; then
    echo "without a defect the test fails:"
    tail -n 3 "$dir/out"
    exit 1
fi
echo "none: passes"

defects=$*
[ -n "$defects" ] || defects=$(grep -oh 'ST_DEFECT_[A-Z_]*' "$src"/store/log*.c | sort -u)
[ -n "$defects" ] || { echo "no defects found in $src/store"; exit 1; }
missed=0
for d in $defects; do
    build "$dir/test" "$d"
    status=0
    # shellcheck disable=SC2086
    timeout 60 "$dir/test" $args >"$dir/out" 2>&1 || status=$?
    if [ "$status" -eq 0 ]; then
        echo "$d: NOT CAUGHT"
        missed=1
    elif [ "$status" -eq 124 ]; then
        echo "$d: NOT CAUGHT (the test did not end)"
        missed=1
    else
        echo "$d: caught ($(grep -a '^scenario' "$dir/out" | tail -n 1 | cut -c11-70 || true):" \
            "$(grep -a '^FAILED' "$dir/out" | tail -n 1 | cut -c9-100 || true))"
    fi
done
exit "$missed"
