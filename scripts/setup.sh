#!/bin/sh
# setup.sh - configures a build directory unless it is configured; leaves out the laboratory (tests,
# simulator, benchmarks) where cmocka or bats are missing, so that the program alone can be built.
#
#   scripts/setup.sh DIR [MESON ARGUMENTS]
set -eu

cd "$(dirname "$0")/.."
dir=${1:?build directory}
shift
lab=false
if pkg-config --exists cmocka && command -v bats >/dev/null; then
    lab=true
fi
if [ ! -f "$dir/build.ninja" ]; then
    meson setup "$dir" "-Dlab=$lab" "$@"
elif [ $# -gt 0 ] || ! meson introspect "$dir" --buildoptions |
    tr '{' '\n' | grep '"name": "lab"' | grep -q "\"value\": $lab"; then
    meson configure "$dir" "-Dlab=$lab" "$@"
fi
