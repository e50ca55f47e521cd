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
echo "$runs commands under valgrind: no errors"
