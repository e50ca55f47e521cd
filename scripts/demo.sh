#!/bin/sh
# demo.sh - `make demo`: a fleet on a workspace, processes killed on the way, every acknowledged
# write looked up; then the same fleet on a plain JSON file.
#
#   scripts/demo.sh [PROCESSES [SECONDS]]      8 processes, 5 s
set -eu

cd "$(dirname "$0")/.."
processes=${1:-8}
seconds=${2:-5}
build=${BUILD:-build}
dir=$build/demo
sample=$(find "${STRATA_SHARED:-../shared}/data/knowledge-graph" -name '*.jsonl' -printf '%s %p\n' 2>/dev/null |
    sort -rn | head -n 1 | cut -d ' ' -f 2-)

./scripts/deps.sh build
if ! { ./scripts/setup.sh "$build" && ninja -C "$build" strata fleet; } >"$build.log" 2>&1; then
    cat "$build.log" >&2
    echo "demo.sh: the build failed" >&2
    exit 1
fi
rm -f "$build.log"

rm -rf "$dir"
mkdir -p "$dir/here"
unset STRATA_DIR STRATA_STATE_DIR
strata() {
    "$build/strata" --state-dir "$dir/here/.strata" --agent demo "$@"
}

# Not one of the workspace that this clone's remote may carry; nor is a remote asked.
strata init "$dir/here" --name here --new >/dev/null
if [ -n "$sample" ]; then
    echo "A knowledge graph that other agents left (${sample##*/}):"
else
    echo "Facts about a project:"
    sample=$dir/facts.csv
    awk 'BEGIN {
        print "entity,attribute,value,kind,link"
        for (i = 1; i <= 60; i++) {
            printf "service-%d,port,%d,value,\n", i, 8000 + i
            printf "service-%d,uses,,member,service-%d\n", i, i % 7 + 1
        }
    }' >"$sample"
fi
printf '  '
strata import "$sample"
printf '\n'

status=0
"$build/fleet" --dir "$dir" --processes "$processes" --seconds "$seconds" || status=$?

printf '\nLook around, for example:\n'
for command in status pending 'history task-01 state' 'agent list'; do
    echo "  $build/strata --state-dir $dir/here/.strata $command"
done
exit "$status"
