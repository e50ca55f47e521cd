#!/bin/sh
# fuzz.sh - builds the fuzz targets with clang, libFuzzer and the sanitizers, and runs each for a
# while. What it finds stays in build-fuzz/; exit status 1 then.
#
#   scripts/fuzz.sh [SECONDS [TARGET ...]]      60 s each, all targets
set -eu

cd "$(dirname "$0")/.."
seconds=${1:-60}
[ $# -eq 0 ] || shift
dir=build-fuzz
flags="-std=gnu17 -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined
       -D_GNU_SOURCE -fno-strict-aliasing -Iinclude -Isrc -Ifuzz"
core="src/core/*.c"
import="src/edge/graph.c src/edge/import.c src/edge/import_[cjmp]*.c src/lib/entity.c $core"

tasks="src/store/alloc.c src/cli/task_items.c src/cli/task_beads.c src/cli/task_queue.c src/cli/task_table.c
       src/files/task_line.c src/files/block.c $core"
mcp="src/edge/text.c src/edge/json.c src/edge/json_text.c src/mcp/calls.c src/mcp/message.c src/mcp/schema.c
     src/mcp/server.c src/mcp/watch.c"

mkdir -p "$dir"
# shellcheck disable=SC2046 # a list of words
[ $# -gt 0 ] || set -- $(basename -s .c fuzz/fuzz_*.c | sed 's/^fuzz_//')
failed=0
for target in "$@"; do
    case $target in
    import_beads | import_queue) sources=$tasks ;;
    view) sources="src/files/[bklqtrv]*.c src/store/*.c $core -lxxhash -lsqlite3" ;;
    import_*) sources=$import ;;
    mcp) sources=$mcp ;;
    merge_lines) sources="-DST_LINES_EDITS_MAX=12 src/files/lines.c src/store/*.c $core -lxxhash -lsqlite3" ;;
    merge_*) sources="src/files/jsonl*.c src/files/jsonscan.c src/store/*.c $core -lxxhash -lsqlite3" ;;
    *) sources=$core ;;
    esac
    # shellcheck disable=SC2086 # lists of words
    ${CLANG:-clang} $flags "fuzz/fuzz_$target.c" $sources -ljansson -o "$dir/fuzz_$target"
    mkdir -p "$dir/corpus/$target"
    if "$dir/fuzz_$target" -max_total_time="$seconds" -max_len=8192 -timeout=10 \
        -print_final_stats=1 -artifact_prefix="$dir/$target-" "$dir/corpus/$target" \
        "fuzz/corpus/$target" >"$dir/$target.log" 2>&1; then
        echo "$target: $(sed -n 's/^stat::number_of_executed_units: *//p' "$dir/$target.log") runs, nothing found"
    else
        echo "$target: FOUND SOMETHING, see $dir/$target.log"
        failed=1
    fi
done
exit "$failed"
