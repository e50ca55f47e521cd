#!/usr/bin/env bats
# transfer.bats - import and export from the outside. STRATA: the program; SAMPLES: folder with
# real files of memory servers (default ../shared/data/knowledge-graph beside the project).

load helpers

setup() {
    program_alone
    SAMPLES="${SAMPLES:-$BATS_TEST_DIRNAME/../../shared/data/knowledge-graph}"
    T="$(mktemp -d)"
    mkdir "$T/ws"
    cd "$T/ws"
    export HOME="$T" STRATA_AGENT=tester
    "$STRATA" init . >/dev/null
}

teardown() {
    cd /
    rm -rf "$T"
}

fresh() { # a second workspace to import into, beside this one
    mkdir -p "$1"
    "$STRATA" init "$1" >/dev/null
}

# jsonl without what an import does not keep, sorted
facts() {
    "$STRATA" --dir "$1" export 2>/dev/null | jq -cS 'del(.time, .agent)' | sort
}

# a memory file in one normal form
memory_normal() {
    jq -cS '
      def text: if type == "string" then . else (.text // .content) end;
      (._type // .type) as $t
      | if $t == "entity"
        then {t: $t, name, entityType: (.entityType // ""),
              observations: ([.observations[]? | text] | unique)}
        else {t: $t, from, to, relationType} end' "$1" | sort -u
}

@test "jsonl: values, members, links, counters go in and come out" {
    cat >in.jsonl <<'END'
{"entity":"api","attribute":"port","value":"8080"}
{"entity":"api","attribute":"note","value":"a \"quoted\"\n\ttext \\ ä"}
{"entity":"api","attribute":"empty","value":""}
{"entity":"api","attribute":"tag","value":"one","kind":"member"}
{"entity":"api","attribute":"tag","value":"two","kind":"member"}
{"entity":"api","attribute":"uses","link":"db","kind":"member"}
{"entity":"api","attribute":"owner","link":"ann"}
{"counter":"builds","total":12}
END
    run "$STRATA" import in.jsonl
    [ "$status" -eq 0 ]
    [[ "$output" == *"jsonl: 8 operations written"* ]]
    [ "$("$STRATA" fact get api port)" = 8080 ]
    jq -cS 'if .counter then . else .kind //= "value" end' in.jsonl | sort >want
    facts . >got
    diff want got
}

@test "a repeated import adds nothing, and says so" {
    printf '%s\n' '{"entity":"a","attribute":"b","value":"1"}' \
        '{"entity":"a","attribute":"c","value":"m","kind":"member"}' \
        '{"counter":"n","total":-3}' >in.jsonl
    "$STRATA" import in.jsonl
    events="$("$STRATA" log --limit 0 | wc -l)"
    run "$STRATA" import in.jsonl
    [ "$status" -eq 0 ]
    [[ "$output" == *"0 operations written, 3 skipped: there already"* ]]
    [ "$("$STRATA" log --limit 0 | wc -l)" -eq "$events" ]
    run "$STRATA" --json import in.jsonl
    [ "$(jq -c '[.data.written, .data.already_there]' <<<"$output")" = '[0,3]' ]
}

@test "a counter gets the difference" {
    "$STRATA" count n +5
    echo '{"counter":"n","total":12}' | "$STRATA" import -
    [ "$("$STRATA" export | jq 'select(.counter == "n").total')" -eq 12 ]
}

@test "a replaced value is told, and stays in the history" {
    "$STRATA" fact set a b old
    echo '{"entity":"a","attribute":"b","value":"new"}' >in.jsonl
    run "$STRATA" import --dry-run in.jsonl
    [ "$status" -eq 0 ]
    [[ "$output" == *"a b: would be replaced (line 1)"* ]]
    [[ "$output" == *"1 operation would be written, 1 value replaced"* ]]
    [ "$("$STRATA" fact get a b)" = old ]
    run "$STRATA" import in.jsonl
    [ "$status" -eq 0 ]
    [[ "$output" == *'a b: replaced "old" of tester'* ]]
    [[ "$output" == *"1 operation written, 1 value replaced"* ]]
    [ "$("$STRATA" fact get a b)" = new ]
    "$STRATA" history a b | grep -q old
}

@test "the last line of an input wins" {
    printf '%s\n' '{"entity":"a","attribute":"b","value":"1"}' \
        '{"entity":"a","attribute":"b","value":"2"}' >in.jsonl
    run "$STRATA" import in.jsonl
    [[ "$output" == *"1 operation written, 1 skipped: said again later"* ]]
    [ "$("$STRATA" fact get a b)" = 2 ]
}

@test "nothing is written when any line is wrong" {
    for i in $(seq 2000); do
        echo '{"entity":"e'$i'","attribute":"a","value":"v"}'
    done >in.jsonl
    echo '{"entity":"e","attribute":"a\u0007","value":"v"}' >>in.jsonl
    run "$STRATA" import in.jsonl
    [ "$status" -eq 2 ]
    [[ "$output" == *"line 2001"* ]]
    [[ "$output" == *"nothing was written"* ]]
    [ -z "$("$STRATA" export)" ]
    [ -z "$("$STRATA" log)" ]
}

@test "errors name file, line and format" {
    printf 'entity,attribute,value\na,b,c\na,b\n' >in.csv
    run "$STRATA" import in.csv
    [ "$status" -eq 2 ]
    [[ "$output" == *"in.csv, line 3 (read as csv)"* ]]
    run "$STRATA" import missing.csv
    [ "$status" -eq 1 ]
    run "$STRATA" import --format dot in.csv
    [ "$status" -eq 2 ]
    echo 'a;b;c' >in.txt
    run "$STRATA" import in.txt
    [ "$status" -eq 2 ]
    [[ "$output" == *"cannot tell its format"* ]]
    run "$STRATA" import .
    [ "$status" -ne 0 ]
}

@test "csv: there and back" {
    printf 'entity,attribute,value,kind,link\r\n"a,b",x,"one ""two""\r\nthree",value,\r\n"a,b",x2," y ",member,\r\n"a,b",z,,member,c\r\nn,,7,counter,\r\n' >in.csv
    "$STRATA" import in.csv
    "$STRATA" export --format csv --output out.csv
    diff in.csv out.csv
    fresh ../other
    "$STRATA" --dir ../other import out.csv
    diff <(facts .) <(facts ../other)
}

@test "a large import is cut into records, is complete, and can be repeated" {
    awk 'BEGIN { for (i = 0; i < 12345; i++)
        printf "{\"entity\":\"e%d\",\"attribute\":\"a%d\",\"value\":\"v%d\"}\n", i / 7, i % 7, i }' >in.jsonl
    run "$STRATA" --json import in.jsonl
    [ "$status" -eq 0 ]
    [ "$(jq -c '[.data.written, .data.records]' <<<"$output")" = '[12345,25]' ]
    [ "$("$STRATA" export | wc -l)" -eq 12345 ]
    run "$STRATA" --json import in.jsonl
    [ "$(jq -c '[.data.written, .data.already_there]' <<<"$output")" = '[0,12345]' ]
}

@test "large values are cut by size" {
    big="$(head -c 60000 /dev/zero | tr '\0' x)"
    for i in $(seq 10); do
        echo '{"entity":"e'$i'","attribute":"a","value":"'$big'"}'
    done >in.jsonl
    run "$STRATA" --json import in.jsonl
    [ "$status" -eq 0 ]
    [ "$(jq -c '[.data.written, .data.records]' <<<"$output")" = '[10,4]' ]
    [ "$("$STRATA" fact get e10 a | wc -c)" -ge 60000 ]
}

@test "a killed import is completed by repeating it" {
    awk 'BEGIN { for (i = 0; i < 60000; i++)
        printf "{\"entity\":\"e%d\",\"attribute\":\"a\",\"value\":\"v%d\"}\n", i, i }' >in.jsonl
    "$STRATA" import in.jsonl &
    pid=$!
    sleep 0.4
    kill -9 "$pid" 2>/dev/null || true
    wait "$pid" || true
    run "$STRATA" --json import in.jsonl
    [ "$status" -eq 0 ]
    [ "$("$STRATA" export | wc -l)" -eq 60000 ]
}

@test "memory: the reference server's file comes back" {
    cat >in.jsonl <<'END'
{"type":"entity","name":"ann","entityType":"person","observations":["likes tea","on\ncall"]}
{"type":"entity","name":"api","entityType":"","observations":["x"]}
{"type":"entity","name":"nothing","entityType":"","observations":[]}
{"type":"relation","from":"ann","to":"api","relationType":"owns"}
{"type":"relation","from":"ann","to":"elsewhere","relationType":"type"}
{"type":"relation","from":"ann","to":"elsewhere","relationType":"relation:type"}
{"type":"relation","from":"ann","to":"api","relationType":"observation"}
{"type":"entity","name":"file:a.c","entityType":"file","observations":["long"]}
{"type":"entity","name":"#12","entityType":"issue","observations":["open"]}
{"type":"entity","name":"entity:#12","entityType":"issue","observations":[]}
{"type":"relation","from":"#12","to":"file:a.c","relationType":"about"}
END
    "$STRATA" import in.jsonl
    "$STRATA" export --format memory --output out.jsonl
    diff <(memory_normal in.jsonl) <(memory_normal out.jsonl)
    run "$STRATA" pending
    [[ "$output" != *ann* ]]
}

@test "memory: other facts are fitted in, with a note" {
    "$STRATA" fact set api port 8080
    "$STRATA" fact set --link api owner ann
    "$STRATA" count builds +1
    run "$STRATA" export --format memory
    [[ "$output" == *'"observations":["port: 8080"]'* ]]
    [[ "$output" == *'"to":"ann","relationType":"owner"'* ]]
    [[ "$output" == *"counters left out"*": 1"* ]]
}

@test "memory: real files come back (skipped without the samples)" {
    [ -d "$SAMPLES" ] || skip "no samples in $SAMPLES"
    n=0
    for f in "$SAMPLES"/*.jsonl; do
        n=$((n + 1))
        fresh "../w$n"
        "$STRATA" --dir "../w$n" import --format memory "$f"
        "$STRATA" --dir "../w$n" export --format memory --output "out$n"
        diff <(memory_normal "$f") <(memory_normal "out$n")
        run "$STRATA" --dir "../w$n" --json import "$f"
        [ "$status" -eq 0 ]
        [ "$(jq .data.written <<<"$output")" -eq 0 ]
    done
    [ "$n" -gt 0 ]
}

@test "dot: nodes, edges, quoting" {
    "$STRATA" fact set --link 'a "b"' 'to\N' 'c\'
    "$STRATA" fact set api port 8080
    "$STRATA" export --format dot >out.dot
    grep -qF '"a \"b\"" -> "c\\" [label="to\\N"];' out.dot
    grep -qF '"c\\" [label="c\\"];' out.dot
    grep -qF '"api" [label="api"];' out.dot
    [ "$(head -n 1 out.dot)" = "digraph strata {" ]
    [ "$(tail -n 1 out.dot)" = "}" ]
    if command -v dot >/dev/null; then
        dot -Tplain out.dot >plain
        [ "$(grep -c ^node plain)" -eq 3 ]
        [ "$(grep -c ^edge plain)" -eq 1 ]
    fi
}

@test "export: one entity, and none" {
    "$STRATA" fact set api port 8080
    "$STRATA" fact set web port 80
    "$STRATA" count builds +1
    [ "$("$STRATA" export --entity api | wc -l)" -eq 1 ]
    run "$STRATA" export --entity nobody --output out
    [ "$status" -eq 1 ]
    [ ! -e out ]
}

@test "export: a file is replaced when all is written, and not before" {
    "$STRATA" fact set api port 8080
    echo precious >out.jsonl
    chmod 640 out.jsonl
    run "$STRATA" export --output missing/out.jsonl
    [ "$status" -ne 0 ]
    "$STRATA" export --output out.jsonl
    jq -e '.value == "8080"' out.jsonl
    [ "$(stat -c %a out.jsonl)" = 640 ]
    [ "$(ls | grep -c tmp)" -eq 0 ]
    if [ -e /dev/full ]; then
        run "$STRATA" export --output /dev/full
        [ "$status" -ne 0 ]
    fi
}

@test "export: of pending attributes the shown value, with a note" {
    cp -r . "$T.copy"
    "$STRATA" fact set a b here
    "$STRATA" --dir "$T.copy" fact set a b there
    run "$STRATA" merge-state "$T.copy"
    rm -rf "$T.copy"
    [ "$status" -eq 0 ]
    run "$STRATA" export
    [[ "$output" == *"attributes that are pending: 1"* ]]
    [ "$(grep -c '"attribute":"b"' <<<"$output")" -eq 1 ]
}

@test "export leaves tasks, messages and files out, and says so; import takes the rest" {
    "$STRATA" fact set api port 9090 >/dev/null
    "$STRATA" add "build" >/dev/null
    "$STRATA" send bob hello --create >/dev/null
    echo one >NOTES.md
    "$STRATA" track NOTES.md >/dev/null 2>&1
    for format in jsonl csv memory; do
        try 0 export --format $format
        hasnt "$output" "hello"
        hasnt "$output" "build"
        has "$stderr" "tasks and messages: 2"
        has "$stderr" "tracked files: 1"
    done
    try 0 export --json --output out.jsonl
    json '.data.tasks_left_out == 2 and .data.files_left_out == 1 and .data.lines == 1'
    fresh ../other
    "$STRATA" --dir ../other import out.jsonl >/dev/null
    same "$("$STRATA" --dir ../other fact get api port)" 9090
    # A file with a task in it, from elsewhere: nothing of it is taken in.
    echo '{"entity":"api","attribute":"host","value":"x"}' >bad.jsonl
    echo '{"entity":"#1","attribute":"title","value":"x"}' >>bad.jsonl
    try 4 --dir ../other import bad.jsonl
    has "$stderr" "#1"
    try 1 --dir ../other fact get api host
}
