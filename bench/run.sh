#!/bin/sh
# run.sh - measures Strata beside other programs that do the same, and beside bare loops that do
# only what the promise needs. Prints a table, and writes JSON to OUT when it is given.
#
#   bench/run.sh [OUT.json]
#
#   BUILD    the build directory (build)            STRATA_BENCH_ROUNDS  repetitions (5)
#   TMPDIR   where the data goes; it has to be on the file system that is to be measured
#   STRATA_BENCH_RECORDS  size of the large workspaces (1000000)
#   STRATA_BENCH_TASKS    how many tasks the section tasks_many makes (a tenth of the records)
#   STRATA_BENCH_SECTIONS which sections, and in what order (all)
#   STRATA_BENCH_MODULES  a directory whose node_modules has yjs, loro-crdt, bullmq and ioredis
#
# Every rate is measured in turn with what it is compared with, ROUNDS times; what counts is the
# median of the ratios of one round each, as the machine may be busy. Nothing here is a test: no
# number makes it fail. What is not installed is skipped, with a notice.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "${BUILD:-build}" && pwd)
rounds=${STRATA_BENCH_ROUNDS:-5}
records=${STRATA_BENCH_RECORDS:-1000000}
sections=${STRATA_BENCH_SECTIONS:-rates strong tasks tasks_many redis merges mcp merge_driver sync_speed
    sync_growth commands}
modules=${STRATA_BENCH_MODULES:-$build/bench-modules}
out=${1:-}
work=$(mktemp -d "${TMPDIR:-/tmp}/strata-bench.XXXXXX")
results=$work/results
redis_id=
etcd_id=

cleanup() {
    for id in $redis_id $etcd_id; do kill "$id" 2>/dev/null || true; done
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

make_tools() {
    mkdir -p "$work/bin"
    for name in write state start strong etcd mcp tasks; do
        ${CC:-cc} -O2 -std=gnu17 -D_GNU_SOURCE -I"$here/../include" -I"$here/../src" "$here/$name.c" \
            "$here/bench.c" -o "$work/bin/bench-$name" "$build/src/libstrata.a" \
            -lsqlite3 -lxxhash -lpthread
    done
}

note() { echo "note: $*" >&2; }

# result NAME VALUE UNIT TARGET: one line of the table. TARGET: ">=0.8", "<5", or "-".
result() { printf '%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "$4" >>"$results"; }

median() { sort -g | awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)]}'; }

# rate KIND PROCESSES: writes per second
rate() {
    dir=$(mktemp -d "$work/rate.XXXXXX")
    "$work/bin/bench-write" "$1" "$2" 700 "$dir"
    rm -rf "$dir"
}

# compare NAME PROCESSES OURS THEIRS TARGET: both rates, and the median of their ratios
compare() {
    : >"$work/ours"; : >"$work/theirs"; : >"$work/ratio"
    i=0
    while [ "$i" -lt "$rounds" ]; do
        theirs=$($4 "$2"); ours=$($3 "$2")
        if [ -z "$theirs" ] || [ -z "$ours" ]; then
            note "$1: it failed, and is left out"
            return
        fi
        echo "$ours" >>"$work/ours"; echo "$theirs" >>"$work/theirs"
        echo "$ours $theirs" | awk '{printf "%.3f\n", $1 / $2}' >>"$work/ratio"
        i=$((i + 1))
    done
    result "$1: Strata" "$(median <"$work/ours")" /s -
    result "$1: the other" "$(median <"$work/theirs")" /s -
    result "$1: ratio" "$(median <"$work/ratio")" "" "$5"
}

for kind in flushed unflushed answered count beat fdatasync shared bare sqlite; do
    eval "rate_$kind() { rate $kind \"\$1\"; }"
done

rates() {
    compare "one flushed write, bare fdatasync" 1 rate_flushed rate_fdatasync ">=0.8"
    compare "flushed, 64 processes, bare shared flush" 64 rate_flushed rate_shared ">=0.6"
    for n in 1 16; do
        for kind in unflushed count beat; do
            result "$kind, $n processes" "$(rate $kind $n)" /s ">=100000"
        done
        result "bare flock + pwrite, $n processes" "$(rate bare $n)" /s -
    done
    compare "flushed, 1 process, SQLite WAL FULL" 1 rate_flushed rate_sqlite -
    compare "flushed, 16 processes, SQLite WAL FULL" 16 rate_flushed rate_sqlite -
    compare "flushed, 64 processes, SQLite WAL FULL" 64 rate_flushed rate_sqlite -
    result "flushed and answered, 1 process" "$(rate answered 1)" /s -
    result "flushed and answered, 64 processes" "$(rate answered 64)" /s -
}

# rate_strong KIND PROCESSES: commands per second of the strong layer
rate_strong() {
    dir=$(mktemp -d "$work/rate.XXXXXX")
    "$work/bin/bench-strong" "$1" "$2" 1500 "$dir"
    rm -rf "$dir"
}
rate_op() { rate_strong op "$1"; }
rate_lock() { rate_strong lock "$1"; }
rate_etcd() { "$work/bin/bench-etcd" 23790 "$1" 1500; }

# once_ms COMMAND...: median ms of 20 runs in the large ledger; every run of every round has a key of
# its own
once_ms() {
    line=$("$work/bin/bench-start" 20 "$work/ledger" "$@")
    echo "${line%% *}"
}

once() {
    mkdir "$work/ledger"
    "$work/bin/bench-strong" fill 1 "$records" "$work/ledger"
    i=0
    while [ "$i" -lt "$rounds" ]; do
        plain=$(once_ms /bin/true)
        ours=$(once_ms "$build/strata" once --key "bench-$i-@N" -- /bin/true)
        echo "$ours" >>"$work/once-ours"; echo "$plain" >>"$work/once-plain"
        echo "$ours $plain" | awk '{printf "%.2f\n", $1 - $2}' >>"$work/once-more"
        i=$((i + 1))
    done
    result "once around /bin/true, $records keys" "$(median <"$work/once-ours")" ms -
    result "/bin/true" "$(median <"$work/once-plain")" ms -
    result "once: more than plain" "$(median <"$work/once-more")" ms "<5"
    result "op show, $records keys" "$(once_ms "$build/strata" op show deploy-77-"$(printf '%08x' $((77 * 2654435761 % 4294967296)))")" ms "<5"
    rm -rf "$work/ledger"
}

strong() {
    once
    compare "locks, 1 process, bare fdatasync" 1 rate_lock rate_fdatasync ">=0.8"
    compare "operations, 1 process, bare fdatasync" 1 rate_op rate_fdatasync ">=0.8"
    compare "operations, 64 processes, SQLite WAL FULL" 64 rate_op rate_sqlite -
    if ! command -v etcd >/dev/null; then
        note "no etcd here: the comparison with etcd is left out"
        return
    fi
    etcd --data-dir "$work/etcd" --listen-client-urls http://127.0.0.1:23790 \
        --advertise-client-urls http://127.0.0.1:23790 \
        --listen-peer-urls http://127.0.0.1:23800 >"$work/etcd.log" 2>&1 &
    etcd_id=$!
    sleep 3
    compare "operations, 64 processes, etcd put" 64 rate_op rate_etcd ">=3"
    compare "locks, 64 processes, etcd put" 64 rate_lock rate_etcd ">=3"
    kill "$etcd_id"
    wait "$etcd_id" || true
    etcd_id=
}

rate_tasks() { # KIND PROCESSES [TASKS]
    dir=$(mktemp -d "$work/rate.XXXXXX")
    "$work/bin/bench-tasks" "$1" "$2" 2000 "$dir" ${3:+"$3"}
    rm -rf "$dir"
}

rate_task_add() { rate_tasks add "$1"; }
# Far more than anybody finishes in two seconds.
queued=60000
rate_task_next() { rate_tasks next "$1" $queued; }
rate_bullmq() { # KIND CLIENTS PROCESSES
    node "$here/bullmq.mjs" "$1" "$2" 2000 "$work/redis.sock" "$modules" $queued "$3"
}
rate_bullmq_add() { rate_bullmq add "$1" 1; }
rate_bullmq_next() { rate_bullmq next "$1" 1; }
rate_bullmq_apart_add() { rate_bullmq add "$1" "$1"; }
rate_bullmq_apart_next() { rate_bullmq next "$1" "$1"; }

# Redis Streams: one group, each client reads an entry, acknowledges it and reads the next
rate_streams() {
    redis-cli -s "$work/redis.sock" flushall >/dev/null
    redis-benchmark -s "$work/redis.sock" -c "$1" -n 20000 -q XADD tasks '*' title build >/dev/null 2>&1
    redis-cli -s "$work/redis.sock" xgroup create tasks all 0 >/dev/null
    redis-benchmark -s "$work/redis.sock" -c "$1" -n 20000 --csv eval "$(printf '%s' \
        "local r = redis.call('XREADGROUP', 'GROUP', 'all', 'one', 'COUNT', 1, 'STREAMS', KEYS[1], '>') " \
        "if r then redis.call('XACK', KEYS[1], 'all', r[1][2][1][1]) end return 1")" 1 tasks 2>/dev/null |
        tail -n 1 | awk -F '","' '{print $(NF - 6)}'
}

# Beside BullMQ and Redis Streams, all on one Redis that flushes always.
tasks_compared() {
    if ! command -v redis-server >/dev/null; then
        note "no redis-server here: the comparison with BullMQ and Redis Streams is left out"
        return 1
    fi
    redis_start
    if command -v redis-benchmark >/dev/null; then
        compare "finish and take, 64 processes, Redis Streams in a script" 64 rate_task_next rate_streams -
    fi
    if command -v node >/dev/null && [ -d "$modules/node_modules/bullmq" ] &&
        [ -d "$modules/node_modules/ioredis" ]; then
        compare "add a task, flushed, 64 processes, BullMQ" 64 rate_task_add rate_bullmq_add ">=2.5"
        for processes in 1 8 64; do
            compare "finish and take, $processes processes, BullMQ" "$processes" rate_task_next \
                rate_bullmq_next ">=2"
        done
        compare "add a task, flushed, 64 processes, BullMQ in as many" 64 rate_task_add \
            rate_bullmq_apart_add -
        compare "finish and take, 64 processes, BullMQ in as many" 64 rate_task_next \
            rate_bullmq_apart_next -
    else
        note "no bullmq in $modules: the comparison with it is left out" \
            "(mkdir -p there, npm install bullmq ioredis)"
    fi
    redis_stop
}

tasks() {
    if ! tasks_compared; then
        result "add a task, flushed, 64 processes" "$(rate_tasks add 64)" /s -
        for processes in 1 8 64; do
            result "finish a task and take the next, $processes processes" \
                "$(rate_tasks next "$processes" 20000)" /s -
        done
    fi
}

# What a first page costs when there are very many; each but the first thousand waits for two.
tasks_many() {
    n=${STRATA_BENCH_TASKS:-$((records / 10))}
    where=$n-tasks
    mkdir "$work/$where"
    result "$where: finish one, and count them all" \
        "$("$work/bin/bench-tasks" fill "$n" "$work/$where")" ms -
    start "$where" "git --version" git --version
    git_ms=$median_ms
    start "$where" "ready" "$build/strata" ready
    # of a machine where git --version takes 1.3 ms, 10 ms
    result "$where: ready, times git --version" \
        "$(echo "$median_ms $git_ms" | awk '{printf "%.2f\n", $1 / $2}')" "" "<7.7"
    rm -rf "${work:?}/$where"
}

redis_start() {
    redis-server --port 0 --unixsocket "$work/redis.sock" --dir "$work" --appendonly yes \
        --appendfsync always --save '' --auto-aof-rewrite-percentage 0 >"$work/redis.log" 2>&1 &
    redis_id=$!
    i=0
    while [ ! -S "$work/redis.sock" ] && [ "$i" -lt 100 ]; do sleep 0.1; i=$((i + 1)); done
}

redis_stop() {
    kill "$redis_id"
    wait "$redis_id" || true
    redis_id=
    rm -rf "$work"/appendonlydir "$work/redis.sock"
}

rate_redis() {
    redis-benchmark -s "$work/redis.sock" -c "$1" -n 40000 --csv \
        XADD stream '*' entity service status "$(printf '%0200d' 0)" 2>/dev/null |
        tail -n 1 | tr -d '"' | sed 's/.*_,//' | awk -F, '{print $(NF - 6)}'
}

redis() {
    if ! command -v redis-server >/dev/null || ! command -v redis-benchmark >/dev/null; then
        note "no redis-server here: the comparison with Redis is left out"
        return
    fi
    redis_start
    compare "flushed, 64 processes, Redis XADD fsync always" 64 rate_flushed rate_redis ">=0.5"
    redis_stop
}

merge_ms() {
    dir=$(mktemp -d "$work/merge.XXXXXX")
    "$work/bin/bench-state" merge "$dir" 20000 1000
    rm -rf "$dir"
}

# The others, too, in a new process each time: a command is one.
other_ms() {
    line=$(node "$here/merge.mjs" "$1" "$modules" 20000 1000 1)
    echo "${line##* }"
}

merges() {
    has_others=yes
    if ! command -v node >/dev/null || [ ! -d "$modules/node_modules/yjs" ] ||
        [ ! -d "$modules/node_modules/loro-crdt" ]; then
        note "no yjs and loro-crdt in $modules: the comparison with them is left out" \
            "(mkdir -p there, npm install yjs loro-crdt)"
        has_others=
    fi
    i=0
    while [ "$i" -lt "$rounds" ]; do
        merge_ms >>"$work/merge-strata"
        if [ -n "$has_others" ]; then
            other_ms yjs >>"$work/merge-yjs"
            other_ms loro >>"$work/merge-loro"
        fi
        i=$((i + 1))
    done
    result "take in 20,000 writes over 1,000 keys, durably" "$(median <"$work/merge-strata")" ms -
    [ -n "$has_others" ] || return 0
    for kind in yjs loro; do
        result "the same in memory, $kind" "$(median <"$work/merge-$kind")" ms -
        result "times as fast as $kind" "$(paste "$work/merge-$kind" "$work/merge-strata" |
            awk '{printf "%.2f\n", $1 / $2}' | median)" "" ">=2"
    done
}

# start WHERE NAME COMMAND...: median ms from start to exit, and memory
start() {
    where=$1 name=$2
    shift 2
    line=$("$work/bin/bench-start" 100 "$work/$where" "$@")
    # shellcheck disable=SC2086 # five numbers
    set -- $line
    [ "$5" = 0 ] || note "$name ended with status $5"
    median_ms=$1
    result "$where: $name" "$1" ms "<5"
    result "$where: $name, processor time" "$3" ms -
    result "$where: $name, memory" "$4" MB "<50"
}

commands() {
    s=$build/strata
    for keys in $((records / 5)) "$records"; do
        where=$records-over-$keys
        mkdir "$work/$where"
        result "$where: filled" "$("$work/bin/bench-state" fill "$work/$where" "$records" "$keys")" /s -
        result "$where: index built" "$("$work/bin/bench-state" index "$work/$where")" /s ">=150000"
        start "$where" "git --version" git --version
        start "$where" "fact get" "$s" fact get service-0000777 status --agent ann
        start "$where" "fact set" "$s" fact set service-0000778 status @N --agent ann
        start "$where" "fact list E" "$s" fact list service-0000777
        start "$where" "history E" "$s" history service-0000777
        start "$where" "log" "$s" log
        start "$where" "status" "$s" status
        start "$where" "pending" "$s" pending
        start "$where" "count" "$s" count visits +1
        start "$where" "beat" "$s" beat working --agent ann
        start "$where" "agent list" "$s" agent list
        start "$where" "search, a rare word" "$s" search "$((records - 7))"
        start "$where" "search, a word in every fact" "$s" search revision
        rm -rf "${work:?}/$where"
    done
}

# servers CLIENTS CALLS TOOL PROGRAM...: acknowledged a second, refused, ms of a call, ms to the first
# answer
servers() {
    dir=$(mktemp -d "$work/mcp.XXXXXX")
    "$build/strata" init "$dir" >/dev/null
    (cd "$dir" && MEMORY_FILE_PATH=$dir/memory.jsonl "$work/bin/bench-mcp" "$@")
    rm -rf "$dir"
}

mcp() {
    s=$build/strata
    for _ in $(seq "$rounds"); do
        flush=$(rate_fdatasync 1)
        # shellcheck disable=SC2046 # four numbers
        set -- $(servers 1 200 fact_set "$s" mcp)
        echo "$3" >>"$work/mcp-call"
        echo "$4" >>"$work/mcp-first"
        echo "$3 $flush" | awk '{printf "%.2f\n", $1 * $2 / 1000}' >>"$work/mcp-flushes"
    done
    result "MCP: a flushed fact" "$(median <"$work/mcp-call")" ms -
    result "MCP: the same, in bare flushes" "$(median <"$work/mcp-flushes")" "" "<2"
    result "MCP: start to first answer" "$(median <"$work/mcp-first")" ms "<20"
    judges=$build/judges/node_modules
    reference=$judges/@modelcontextprotocol/server-memory/dist/index.js
    if [ ! -f "$reference" ]; then
        note "no reference memory server in $judges: left out (tests/mcp/judges.sh $build/judges)"
        return
    fi
    node=$(ls "$judges"/node-linux-*/bin/node)
    for _ in $(seq "$rounds"); do
        # shellcheck disable=SC2046
        set -- $(servers 8 100 create_entities "$node" "$reference")
        theirs=$1
        # shellcheck disable=SC2046
        set -- $(servers 8 100 create_entities "$s" mcp --memory)
        echo "$1" >>"$work/memory-ours"
        echo "$theirs" >>"$work/memory-theirs"
        echo "$1 $theirs" | awk '{printf "%.2f\n", $1 / $2}' >>"$work/memory-ratio"
    done
    result "memory server, 8 clients: Strata" "$(median <"$work/memory-ours")" /s -
    result "memory server, 8 clients: reference" "$(median <"$work/memory-theirs")" /s -
    result "memory server, 8 clients: ratio" "$(median <"$work/memory-ratio")" "" ">=10"
}

# Trackers of 540 bytes a record: each side changed a tenth, deleted and added a hundredth.
merge_driver() {
    for n in 5000 50000 500000; do
        mkdir "$work/tracker"
        awk -v n="$n" -v dir="$work/tracker" 'BEGIN {
            for (i = 0; i < 420; i++) text = text "x"
            split("base ours theirs", sides, " ")
            for (s = 1; s <= 3; s++) for (i = 0; i < n + (s > 1) * n / 100; i++) {
                if (s > 1 && i < n && (i + s) % 100 == 0) continue
                changed = s > 1 && i < n && (i * 7 + s * 3) % 10 == 0 ? sides[s] : ""
                printf "{\"id\":\"%s-%d\",\"title\":\"task %d %s\",\"description\":\"%s\",\"status\":\"open\",\"labels\":[\"a\"],\"updated_at\":\"2026-01-01T00:00:00Z\"}\n", i < n ? "t" : sides[s], i, i, changed, text > (dir "/" sides[s])
            }
        }'
        line=$("$work/bin/bench-start" 1 "$work/tracker" "$build/strata" merge-driver \
            base ours theirs 7 x.jsonl)
        # shellcheck disable=SC2086 # five numbers
        set -- $line
        [ "$5" = 0 ] || note "merge-driver over $n records ended with status $5"
        target=-
        [ "$n" -gt 5000 ] || target="<100"
        result "merge driver, $n records" "$1" ms "$target"
        result "merge driver, $n records, processor time" "$3" ms -
        result "merge driver, $n records, memory" "$4" MB -
        result "merge driver, $n records, one input" \
            "$(($(stat -c %s "$work/tracker/base") / 1000000))" MB -
        rm -rf "$work/tracker"
    done
}

# `strata sync` of 10,000 new records with a bare repository beside, and what of that time git was at work
# (its own trace, without starting the programs and loading them). The index is up to date, as after any
# command that reads.
sync_speed() {
    mkdir "$work/sync"
    git init -q --bare "$work/sync/hub"
    git init -q "$work/sync/a"
    git -C "$work/sync/a" remote add origin "$work/sync/hub"
    "$work/bin/bench-state" fill "$work/sync/a" 10000 1000 >/dev/null
    sync="$build/strata -C $work/sync/a --state-dir $work/sync/a/.strata sync"
    $sync origin --yes >/dev/null
    for _ in $(seq "$rounds"); do
        "$work/bin/bench-state" fill "$work/sync/a" 10000 1000 >/dev/null
        rm -f "$work/sync/trace"
        # shellcheck disable=SC2046,SC2086 # words
        set -- $(GIT_TRACE2_EVENT=$work/sync/trace "$work/bin/bench-start" 1 "$work/sync" $sync)
        [ "$5" = 0 ] || note "sync ended with status $5"
        git=$(grep '"event":"exit","sid":"[^/"]*"' "$work/sync/trace" |
            sed 's/.*"t_abs":\([0-9.]*\).*/\1/' | awk '{n += $1} END {print n * 1000}')
        echo "$1" >>"$work/sync-ours"
        echo "$git" >>"$work/sync-git"
        echo "$1 $git" | awk '{printf "%.2f\n", $1 / $2}' >>"$work/sync-ratio"
    done
    rm -rf "$work/sync"
    result "sync of 10,000 new records" "$(median <"$work/sync-ours")" ms -
    result "the calls of git in it" "$(median <"$work/sync-git")" ms -
    result "sync: times the calls of git" "$(median <"$work/sync-ratio")" "" "<2"
}

# 40 syncs of 20 MB of records: what a repository has grown by.
sync_growth() {
    mkdir "$work/growth"
    git init -q --bare "$work/growth/hub"
    git init -q "$work/growth/a"
    for _ in $(seq 40); do
        "$work/bin/bench-state" fill "$work/growth/a" 1725 5000 >/dev/null
        "$build/strata" -C "$work/growth/a" --state-dir "$work/growth/a/.strata" \
            sync "$work/growth/hub" --yes >/dev/null
    done
    cat "$work"/growth/a/.strata/log/*/*.jsonl >"$work/growth/all"
    result "40 syncs: records" "$(($(wc -c <"$work/growth/all") / 1000000))" MB -
    compressed=$(gzip -6 <"$work/growth/all" | wc -c)
    result "40 syncs: records, compressed once" "$((compressed / 1000))" kB -
    for repository in hub a/.git; do
        objects=$(git --git-dir "$work/growth/$repository" cat-file --batch-all-objects \
            --batch-check='%(objectsize:disk)' | awk '{n += $1} END {print n}')
        result "40 syncs: objects of $repository" "$((objects / 1000))" kB -
        result "40 syncs: $repository, ratio" \
            "$(echo "$objects $compressed" | awk '{printf "%.2f\n", $1 / $2}')" "" "<1.5"
    done
    git --git-dir "$work/growth/hub" gc -q
    result "40 syncs: the hub after git gc" \
        "$(git --git-dir "$work/growth/hub" count-objects -v | awk '/size-pack/ {print $2}')" kB -
    rm -rf "$work/growth"
}

# What a virtual machine did not get although it wanted it: the fewer, the more a rate says.
host_begin() { awk '/^cpu / {print $9, $2 + $3 + $4 + $7 + $8}' /proc/stat >"$work/host"; }

host_end() { # SECTION
    result "$1: processor time that the host withheld" "$(awk '
        NR == FNR {stolen = $1; used = $2; next}
        /^cpu / {
            stolen = $9 - stolen; used = $2 + $3 + $4 + $7 + $8 - used
            printf "%.0f", (stolen + used > 0 ? 100 * stolen / (stolen + used) : 0)
        }' "$work/host" /proc/stat)" % -
}

table() {
    awk -F '\t' '
        function reached(v, t) {
            if (t ~ /^>=/) return v >= substr(t, 3) + 0 ? "reached" : "missed"
            if (t ~ /^</) return v < substr(t, 2) + 0 ? "reached" : "missed"
            return ""
        }
        {printf "%-62s %10s %-3s %-9s %s\n", $1, $2, $3, $4 == "-" ? "" : $4, reached($2, $4)}
    ' "$results"
}

json() {
    awk -F '\t' -v machine="$(uname -sr), $(nproc) cores" '
        BEGIN {printf "{\"format\":1,\"machine\":\"%s\",\"results\":[\n", machine}
        {
            if (NR > 1) printf ",\n"
            printf "{\"name\":\"%s\",\"value\":%s,\"unit\":\"%s\"", $1, $2, $3
            if ($4 != "-") printf ",\"target\":\"%s\"", $4
            printf "}"
        }
        END {print "\n]}"}
    ' "$results"
}

make_tools
echo "machine: $(uname -sr), $(nproc) cores, data in $work ($(stat -f -c %T "$work"))"
for section in $sections; do
    host_begin
    "$section"
    host_end "$section"
done
table
[ -z "$out" ] || json >"$out"
