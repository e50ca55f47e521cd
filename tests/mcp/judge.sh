#!/bin/sh
# judge.sh - the MCP server before its judges from outside. Skipped (77) where they cannot be had.
#
#   STRATA=build/strata FIXTURE=build/tests/mcp_fixture tests/mcp/judge.sh DIR
#
# DIR is where judges.sh puts the judges; what is there already is used again.
set -eu

: "${STRATA:?path of the program}" "${FIXTURE:?path of the server of the conformance suite}"
case $STRATA in
/*) ;;
*) STRATA=$PWD/$STRATA ;;
esac
dir=${1:?directory}
case $dir in
/*) ;;
*) dir=$PWD/$dir ;;
esac
cd "$(dirname "$0")"
./judges.sh "$dir"
node=$(ls "$dir"/node_modules/node-linux-*/bin/node)
"$node" judge.mjs "$dir" "$STRATA"
for revision in 2025-11-25 2026-07-28; do
    "$node" conformance.mjs "$dir" "$FIXTURE" "$revision"
done
"$node" memory.mjs "$dir" "$STRATA"
