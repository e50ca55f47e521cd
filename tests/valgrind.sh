#!/bin/sh
# valgrind.sh - a representative run of the program under valgrind: no error, and no memory that nobody
# points at any more when it ends.
#
#   STRATA=build/strata tests/valgrind.sh
#
# Skipped (77) for a program that was built with a sanitizer: the two exclude each other.
set -eu

: "${STRATA:?path of the program}"
command -v valgrind >/dev/null || { echo "no valgrind here: skipped"; exit 77; }
if nm "$STRATA" 2>/dev/null | grep -q __asan_init || ldd "$STRATA" | grep -q libasan; then
    echo "built with AddressSanitizer: skipped"
    exit 77
fi

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT INT TERM
unset STRATA_DIR STRATA_STATE_DIR
export STRATA_AGENT=ann
mkdir "$dir/here" "$dir/box"
cd "$dir/here"

# run STATUS ARGUMENT...: the program with these arguments has to end with STATUS.
# valgrind ends with 99 when it found an error.
run() {
    want=$1
    shift
    status=0
    valgrind --quiet --error-exitcode=99 --leak-check=full --show-leak-kinds=definite,indirect \
        --errors-for-leak-kinds=definite,indirect --log-file="$dir/valgrind.log" \
        "$STRATA" "$@" >"$dir/out" 2>&1 || status=$?
    if [ "$status" -ne "$want" ]; then
        echo "valgrind.sh: strata $*: status $status instead of $want" >&2
        cat "$dir/out" "$dir/valgrind.log" >&2
        exit 1
    fi
    runs=$((runs + 1))
}

runs=0
run 0 init --name laptop
run 0 fact set api port 8080
run 0 fact set api port 9090 --agent bob
run 3 fact set api port 7070 --expect 8080
run 0 fact add api tag public
run 0 fact add api tag beta
run 0 fact remove api tag beta
run 0 fact set api owner ann --link
run 0 fact get api port
run 1 fact get api nothing
run 0 fact list --json
run 0 history api
run 0 fact list --as-of 2000-01-01
run 0 search public
run 0 count builds +2
run 0 beat "looking for leaks"
run 0 agent list
run 2 fact set api port "$(printf 'a\001b')"
printf 'entity,attribute,value\nweb,port,80\nweb,port,81\n' >"$dir/in.csv"
run 0 import --format csv "$dir/in.csv"
run 0 export --format jsonl
run 0 export --format dot
run 0 -C "$dir/box" init --name box
run 0 -C "$dir/box" merge-state "$dir/here"
run 0 -C "$dir/box" fact set api port 1
run 0 fact set api port 2
run 0 merge-state "$dir/box"
run 0 pending
run 0 resolve --all --take latest
run 0 log --limit 0 --json
run 0 once --key k -- true
run 0 once --key k -- true
run 0 op list
run 0 lock acquire l
run 0 lock list
run 0 status
run 0 doctor

# Sessions of the MCP server: lines that are messages and such that are not, each tool, what waits and
# what is watched when the client closes.
id=0
request() {
    id=$((id + 1))
    printf '{"jsonrpc":"2.0","id":%d,"method":"%s","params":%s}\n' "$id" "$1" "$2"
}
tool() { request tools/call "{\"name\":\"$1\",\"arguments\":$2}"; }
hello() {
    printf '%s\n' nonsense '[1]' '{"jsonrpc":"2.0","id":1,"id":2}' '{"id":{}}' '[[[[[[' ''
    request initialize '{"protocolVersion":"2025-11-25"}'
    request tools/list '{}'
    request resources/list '{}'
    request resources/templates/list '{}'
    request none '{}'
}
{
    hello
    tool prime '{}'
    tool fact_set '{"entity":"api","attribute":"port","value":"1"}'
    tool fact_set '{"entity":"api","attribute":"port","value":"2","expect":"3"}'
    tool fact_set '{"entity":"api","valeu":"2"}'
    tool fact_search '{"words":"api"}'
    tool add '{"title":"build"}'
    tool add '{"title":"deploy","after":["1"]}'
    tool next '{}'
    tool update '{"id":"1","action":"checkpoint","text":"half"}'
    tool update '{"id":"1","action":"done"}'
    tool once_begin '{"key":"m","what":"mail"}'
    tool once_report '{"key":"m","outcome":"done","result":"sent"}'
    tool once_begin '{"key":"m","what":"mail"}'
    tool once_begin '{"key":"lost","what":"mail"}'
    tool reserve '{"path":"src/**"}'
    tool prime '{"agent":"bob"}'
    tool message '{"to":"bob","text":"hello"}'
    tool message '{"agent":"bob"}'
    request resources/read '{"uri":"strata://entity/api"}'
    request resources/read '{"uri":"strata://board"}'
    request resources/read '{"uri":"strata://pending"}'
    request resources/read '{"uri":"strata://none"}'
    request resources/subscribe '{"uri":"strata://tasks/ready"}'
    tool next '{"channel":"none","wait_ms":1000}'
    printf '{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":%d}}\n' "$id"
    tool next '{"channel":"none","wait_ms":50000}'
    printf '{"jsonrpc":"2.0","id":'
} >"$dir/main.in"
run 0 mcp <"$dir/main.in"
[ "$(grep -c '"jsonrpc"' "$dir/out")" -ge 30 ] || { cat "$dir/out"; exit 1; }
{
    hello
    tool create_entities '{"entities":[{"name":"a","entityType":"t","observations":["x","y"]}]}'
    tool create_entities '{"entities":[{"name":"half"}]}'
    tool create_relations '{"relations":[{"from":"a","to":"b","relationType":"r"}]}'
    tool add_observations '{"observations":[{"entityName":"a","contents":["z"]}]}'
    tool add_observations '{"observations":[{"entityName":"none","contents":["z"]}]}'
    tool search_nodes '{"query":"X"}'
    tool open_nodes '{"names":["a"]}'
    tool delete_observations '{"deletions":[{"entityName":"a","observations":["x"]}]}'
    tool delete_relations '{"relations":[{"from":"a","to":"b","relationType":"r"}]}'
    tool delete_entities '{"entityNames":["a"]}'
    tool read_graph '{}'
    request resources/read '{"uri":"memory://knowledge-graph"}'
} >"$dir/memory.in"
mkdir "$dir/graph"
printf '{"type":"entity","name":"old","entityType":"t","observations":["o"]}\n' >"$dir/graph/memory.jsonl"
MEMORY_FILE_PATH=$dir/graph/memory.jsonl run 0 mcp --memory <"$dir/memory.in"
grep -q '"entities"' "$dir/out"
echo "$runs commands under valgrind: no errors"
