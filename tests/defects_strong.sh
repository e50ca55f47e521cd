#!/bin/sh
# defects_strong.sh - every deliberate defect of the strong layer must be caught by tests/test_strong.c.
#
#   tests/defects_strong.sh [DEFECT...]
#
# Each `ST_DEFECT_...` of src/strong is compiled in, one at a time; the test must then fail. First it must
# pass without a defect. One line per defect. Environment: CC (cc).
set -eu
cd "$(dirname "$0")/.."
cc=${CC:-cc}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT INT TERM
flags="-std=gnu17 -D_GNU_SOURCE -O1 -fno-strict-aliasing -Isrc -Iinclude -Itests"

changing=$(sed -n "s/^ *'\(strong\/[a-z_]*\.c\)',.*/src\/\1/p" src/meson.build)
for f in $(sed -n "s/^ *'\(\(core\|store\)\/[a-z_]*\.c\)',.*/src\/\1/p" src/meson.build) \
    tests/test_strong.c tests/order_memory.c; do
    # shellcheck disable=SC2086
    $cc $flags -c "$f" -o "$dir/$(echo "$f" | tr / _).o"
done

build() { # build [DEFINE]
    for f in $changing; do
        # shellcheck disable=SC2086
        $cc $flags ${1:+"-D$1"} -c "$f" -o "$dir/$(echo "$f" | tr / _).o"
    done
    $cc "$dir"/*.o -lcmocka -lsqlite3 -lxxhash -lpthread -o "$dir/test_strong"
}

passes() {
    timeout 120 "$dir/test_strong" >"$dir/out" 2>&1
}

build
if ! passes; then
    echo "without a defect it fails:"
    grep -a 'FAILED\|ERROR' "$dir/out" | head -n 5
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
    if passes; then
        echo "$d: NOT CAUGHT"
        missed=1
    else
        echo "$d: caught ($(grep -a '^\[  FAILED  \] test_' "$dir/out" | cut -c14- | sort -u | head -n 2 | tr '\n' ' '))"
    fi
done
exit "$missed"
