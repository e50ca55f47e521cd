#!/usr/bin/env bats
# agents.bats - what wires agents' clients: init --agents, uninit, prime, hook; a session in a sandbox
# that can write only its work tree.
#
#   STRATA=build/strata bats tests/mcp/agents.bats

load ../helpers

setup() {
    program_alone
    export STRATA_AGENT=ann
    # Clients that are installed here are none of this test's business.
    mkdir "$BATS_TEST_TMPDIR/bin" "$BATS_TEST_TMPDIR/work"
    export PATH=$BATS_TEST_TMPDIR/bin:/usr/bin:/bin
    ln -s "$STRATA" "$BATS_TEST_TMPDIR/bin/strata"
    export HOME=$BATS_TEST_TMPDIR/home
    unset XDG_STATE_HOME CLAUDE_PROJECT_DIR
    mkdir "$HOME"
    cd "$BATS_TEST_TMPDIR/work"
    git init -q .
    git -c user.name=t -c user.email=t@t commit -q --allow-empty -m begin
    strata init --name desk >/dev/null
}

# fake_client NAME [COMMAND]: a client's own program that keeps what it was called with, and where
fake_client() {
    printf '#!/bin/sh\necho "$PWD: $(basename "$0") $*" >>%s\necho done\n%s\n' "$BATS_TEST_TMPDIR/called" "${2:-}" \
        >"$BATS_TEST_TMPDIR/bin/$1"
    chmod +x "$BATS_TEST_TMPDIR/bin/$1"
}

called() { cat "$BATS_TEST_TMPDIR/called"; }

@test "init --agents writes one plugin, changes no tracked file, and is undone" {
    run strata init --agents
    [ "$status" -eq 0 ]
    has "$output" "no file of yours was changed"
    [ -z "$(git status --porcelain)" ]
    for file in .claude-plugin/plugin.json .claude-plugin/marketplace.json .codex-plugin/plugin.json \
        .mcp.json hooks/hooks.json; do
        jq -e . ".git/strata/plugin/$file" >/dev/null
    done
    has "$(cat .git/strata/plugin/skills/strata/SKILL.md)" "name: strata"
    # The head is YAML, where a plain text has no colon with a space behind it, and no #.
    head=$(sed -n '2,/^---$/p' .git/strata/plugin/skills/strata/SKILL.md | sed '$d')
    [ "$(grep -c '^[a-z]*: [A-Za-z][^:#]*$' <<<"$head")" -eq "$(wc -l <<<"$head")" ]
    # Every hook that is named is one that there is.
    for hook in $(jq -r '.. | .command? // empty' .git/strata/plugin/hooks/hooks.json | sed 's/strata hook //'); do
        strata hook "$hook" </dev/null
    done
    strata init --agents >/dev/null
    run strata uninit
    [ "$status" -eq 0 ]
    has "$output" "taken back: plugin"
    [ ! -e .git/strata/plugin ]
    [ -e .git/strata/identity ]
}

@test "a client's own program is called with consent only, once, in the work tree, and taken back" {
    fake_client claude
    fake_client codex
    plugin=$PWD/.git/strata/plugin
    run strata init --agents </dev/null
    has "$output" "left to do: claude plugin marketplace add --scope local $plugin"
    market=$(jq -r .name "$plugin/.claude-plugin/marketplace.json")
    has "$output" "left to do: claude plugin install --scope local strata@$market"
    has "$output" "left to do: codex mcp add strata -- strata mcp"
    [ ! -e "$BATS_TEST_TMPDIR/called" ]
    (cd / && strata init --agents --yes "$BATS_TEST_TMPDIR/work" >/dev/null 2>&1)
    [ "$(called)" = "$PWD: claude plugin marketplace add --scope local $plugin
$PWD: claude plugin install --scope local strata@$market
$PWD: codex mcp add strata -- strata mcp" ]
    strata init --agents --yes >/dev/null 2>&1
    [ "$(called | wc -l)" -eq 3 ]
    # Claude Code knows each work tree by itself; another workspace has another name.
    git worktree add -q ../tree
    (cd ../tree && strata init --agents --yes >/dev/null 2>&1)
    [ "$(called | tail -n 1)" = "$(cd ../tree && pwd): claude plugin install --scope local strata@$market" ]
    git init -q ../other
    (cd ../other && strata init --name other >/dev/null && strata init --agents >/dev/null </dev/null)
    [ "$(jq -r .name ../other/.git/strata/plugin/.claude-plugin/marketplace.json)" != "$market" ]
    # Without consent the plugin stays where the client looks for it.
    run strata uninit </dev/null
    has "$output" "left to do: claude plugin uninstall --scope local strata@$market"
    [ -e "$plugin/.mcp.json" ]
    : >"$BATS_TEST_TMPDIR/called"
    run strata uninit --yes
    has "$output" "taken back: client claude"
    [ "$(called)" = "$PWD: claude plugin uninstall --scope local strata@$market
$PWD: claude plugin marketplace remove --scope local $market
$PWD: codex mcp remove strata
$(cd ../tree && pwd): claude plugin uninstall --scope local strata@$market
$(cd ../tree && pwd): claude plugin marketplace remove --scope local $market" ]
    [ ! -e "$plugin" ]
    [ ! -e .git/strata/wired ]
    # A work tree that is gone took its settings with it.
    (cd ../tree && strata init --agents --yes >/dev/null 2>&1)
    git worktree remove --force ../tree
    strata uninit --yes >/dev/null 2>&1
    [ ! -e .git/strata/wired ]
}

@test "what Codex and OpenClaw have once for all workspaces stays until the last that needs it goes" {
    fake_client codex
    fake_client openclaw
    git init -q ../other
    git init -q ../third
    strata init --agents --yes >/dev/null 2>&1
    (cd ../other && strata init --agents --yes >/dev/null 2>&1)
    (cd ../third && strata init --agents --yes >/dev/null 2>&1)
    : >"$BATS_TEST_TMPDIR/called"
    run --separate-stderr strata uninit --yes --json
    jq -e '.data | .shared == ["client codex", "client openclaw"] and .unwired == ["plugin"] and .left == []' <<<"$output"
    [ ! -e .git/strata/wired ]
    # A workspace that is gone needs nothing.
    rm -rf ../third
    cd ../other
    run strata uninit </dev/null
    has "$output" "left to do: codex mcp remove strata"
    [ "$(called)" = "" ]
    # What could not be done is still ours to do.
    run --separate-stderr strata uninit --yes --json
    jq -e '.data | .shared == [] and .unwired == ["client codex", "client openclaw"]' <<<"$output"
    [ "$(called | sed 's/.*: //')" = "codex mcp remove strata
openclaw mcp unset strata" ]
    [ -z "$(find "$HOME" -type l -not -lname '*third*')" ]
    # Nobody needs what could not be made.
    fake_client codex 'exit 1'
    strata init --agents --yes >/dev/null 2>&1
    [ "$(find "$HOME" -lname '*other*')" = "$HOME/.local/state/strata/openclaw/$(strata status --json | jq -r .data.replica)" ]
}

@test "init --agents --json lists what was wired and what is left; --dry-run changes nothing" {
    fake_client codex
    fake_client claude 'exit 1'
    git init -q "../it's new"
    cd "../it's new"
    run --separate-stderr strata init --agents --dry-run --json
    jq -e '.data.agents | .wired == [] and .missing == ["openclaw"] and (.left | length) == 3' <<<"$output"
    # As one types it in a shell.
    eval "set -- $(jq -r '.data.agents.left[0]' <<<"$output")"
    [ "$1 $7" = "claude $PWD/.git/strata/plugin" ]
    has "$(strata init --agents --dry-run)" "would ask to run: codex mcp add strata -- strata mcp"
    [ ! -e .git/strata ]
    [ ! -e "$BATS_TEST_TMPDIR/called" ]
    [ -z "$(find "$HOME" -type l)" ]
    run --separate-stderr strata init --agents --yes --json
    jq -e '.data.agents | .wired == ["client codex"] and .missing == ["openclaw"] and
        (.left | length == 2 and all(startswith("claude plugin"))) and (.plugin | endswith("/.git/strata/plugin"))' <<<"$output"
    [ -e "$(jq -r .data.agents.plugin <<<"$output")/.mcp.json" ]
    # The second time, too.
    run --separate-stderr strata init --agents --json
    jq -e '.data.agents | .wired == ["client codex"] and (.left | length) == 2' <<<"$output"
    jq -e '.data.agents == null' <<<"$(strata init --json)"
}

@test "a client's own program that fails is told, and left to do; nothing of it is in our data" {
    fake_client claude 'echo "no network" >&2; exit 3'
    fake_client openclaw
    run --separate-stderr strata init --agents --yes --json
    [ "$status" -eq 0 ]
    jq -e .data.state_dir <<<"$output" >/dev/null
    has "$stderr" "claude ended with status 3: no network"
    run strata init --agents --yes
    has "$output" "left to do: claude plugin marketplace add"
    # The other one was called, once, with its server as JSON.
    server=$(grep openclaw "$BATS_TEST_TMPDIR/called" | sed 's/.*openclaw mcp set strata //')
    jq -e '.command == "strata" and .args == ["mcp"]' <<<"$server" >/dev/null
    # A program that is not found by its name is told.
    rm "$BATS_TEST_TMPDIR/bin/strata"
    run "$STRATA" init --agents
    has "$output" 'no program `strata` is found along PATH'
}

@test "AGENTS.md is changed only when asked, and comes back byte for byte" {
    printf '# Rules\n\nBe kind.' >AGENTS.md
    cp AGENTS.md before
    strata init --agents >/dev/null
    cmp AGENTS.md before
    strata init --agents --agents-md >/dev/null
    has "$(cat AGENTS.md)" "strata prime"
    strata init --agents --agents-md >/dev/null
    [ "$(grep -c strata:begin AGENTS.md)" -eq 1 ]
    strata uninit >/dev/null
    [ "$(cat AGENTS.md)" = "$(cat before)" ]
    rm AGENTS.md
    strata init --agents --agents-md >/dev/null
    strata uninit >/dev/null
    [ ! -e AGENTS.md ]
}

@test "AGENTS.md without its last newline, empty, or with the block already" {
    for text in '# Rules\n\nBe kind.' 'a' 'a\r\nb' '   ' '' 'a\n' '\n' 'a\n\n'; do
        printf "$text" >AGENTS.md
        cp AGENTS.md before
        strata init --agents --agents-md >/dev/null
        has "$(cat AGENTS.md)" "strata prime"
        strata uninit >/dev/null
        cmp AGENTS.md before
    done
    # Somebody else's, from another clone: it stays.
    strata init --agents --agents-md >/dev/null
    cp AGENTS.md block
    strata uninit >/dev/null
    cp block AGENTS.md
    strata init --agents --agents-md >/dev/null
    strata uninit >/dev/null
    cmp AGENTS.md block
}

@test "AGENTS.md with a view in it: the view stays" {
    printf '%s\n' '# Rules' '<!-- strata:begin facts 0123456789abcdef edit -->' 'row' '<!-- strata:end facts -->' >AGENTS.md
    cp AGENTS.md before
    strata init --agents --agents-md >/dev/null
    has "$(cat AGENTS.md)" "strata prime"
    strata uninit >/dev/null
    cmp AGENTS.md before
}

@test "hook: a client that keeps its end open is not waited for" {
    strata init >/dev/null
    mkfifo input
    exec 9<>input
    printf '{"session_id":"s-1","cwd":"%s"}' "$PWD" >&9
    timeout 1 strata hook session-end <input
    timeout 10 strata hook session-end <input
    exec 9>&-
}

@test "prime: unfinished work with its checkpoint, messages, rules" {
    strata add "build frontend" >/dev/null
    strata add "other" >/dev/null
    strata next >/dev/null
    strata checkpoint 1 --data "half way" >/dev/null
    strata beat >/dev/null
    STRATA_AGENT=bob strata send ann "look at #1" >/dev/null
    run strata prime
    [ "$status" -eq 0 ]
    has "$output" "you are ann"
    has "$output" "task 1: build frontend"
    has "$output" "last checkpoint: half way"
    has "$output" "from bob"
    has "$output" "2 P2 other"
    has "$output" "In doubt means"
    [ "${#lines[@]}" -lt 40 ]
    # In the words of who reads it: each command that is named is one, and so is each tool.
    for command in $(grep -o '`strata [a-z]*\( set\| list\)\?' <<<"$output" | sed 's/`strata //; s/ /-/' | sort -u); do
        strata help ${command/-/ } >/dev/null
    done
    [[ "$output" != *fact_set* ]]
    has "$(strata hook session-start <<<'{}')" '`fact_set`'
    run strata prime --json
    jq -e '.data.agent == "ann" and (.data.text | contains("half way"))' <<<"$output" >/dev/null
}

@test "hook: a session gets its name; an edit of what another has reserved is refused" {
    export CLAUDE_ENV_FILE=$BATS_TEST_TMPDIR/env
    run strata hook session-start <<<'{"hook_event_name":"SessionStart"}'
    [ "$status" -eq 0 ]
    has "$output" "you are ann"
    has "$(cat "$CLAUDE_ENV_FILE")" "export STRATA_AGENT=ann"
    edit="{\"tool_name\":\"Edit\",\"tool_input\":{\"file_path\":\"$PWD/src/a.c\"}}"
    run strata hook pre-edit <<<"$edit"
    [ "$status" -eq 0 ]
    STRATA_AGENT=bob strata reserve src/a.c >/dev/null
    run strata hook pre-edit <<<"$edit"
    [ "$status" -eq 2 ]
    has "$output" "src/a.c is reserved by bob"
    # A hook that there is not, as of a newer plugin, does not stand in an edit's way.
    run strata hook pre-think <<<"$edit"
    [ "$status" -eq 1 ]
    STRATA_AGENT=bob strata hook pre-edit <<<"$edit"
    STRATA_AGENT=bob strata hook session-end <<<'{}'
    strata hook pre-edit <<<"$edit"
    # An agent that went elsewhere is still in its session.
    STRATA_AGENT=bob strata reserve src/b.c >/dev/null
    project=$PWD
    run -2 env -C / CLAUDE_PROJECT_DIR="$project" strata hook pre-edit <<<"${edit/a.c/b.c}"
    env -C / strata hook pre-edit <<<"${edit/a.c/b.c}"
    # Nonsense, and no workspace, are passed over.
    strata hook pre-edit <<<'nonsense'
    cd "$BATS_TEST_TMPDIR" && strata hook pre-edit <<<"$edit"
    run -1 strata hook none
}

# pre_edit AGENT PATH STATUS: what the hook says to an edit of that file
pre_edit() {
    local edit="{\"tool_name\":\"Edit\",\"tool_input\":{\"file_path\":\"$2\"}}"
    STRATA_AGENT=$1 run strata hook pre-edit <<<"$edit"
    [ "$status" -eq "$3" ] || { echo "$1 on $2: status $status, not $3: $output"; return 1; }
}

@test "hook: what was reserved by a pattern is kept from others, in its work tree" {
    git worktree add -q ../tree
    ln -s "$PWD" ../link
    STRATA_AGENT=bob strata reserve 'src/**' --reason renaming >/dev/null
    for file in "$PWD/src/a.c" "$PWD/src/deep/down.c" "$PWD/src/../src/a.c" src/a.c "$PWD/../link/src/a.c"; do
        mkdir -p src
        pre_edit ann "$file" 2
        has "$output" "src/** is reserved by bob: renaming"
        pre_edit bob "$file" 0
    done
    pre_edit ann "$PWD/docs/a.md" 0
    [ "$output" = "" ]
    # From inside of the work tree, too.
    cd src
    pre_edit ann a.c 2
    pre_edit ann "$PWD/a.c" 2
    # Another work tree has other files: a warning.
    cd ../../tree
    pre_edit ann "$PWD/src/a.c" 0
    has "$output" "bob has reserved src/** in another work tree"
    # A file of another repository is nobody's business, whatever its path is.
    git init -q ../other
    pre_edit ann "$BATS_TEST_TMPDIR/other/src/a.c" 0
    [ "$output" = "" ]
    # What is shared is refused to nobody.
    cd ../work
    STRATA_AGENT=bob strata hook session-end <<<'{}'
    [ "$(strata reserve list)" = "" ]
    STRATA_AGENT=bob strata reserve 'src/*' --shared >/dev/null
    pre_edit ann "$PWD/src/a.c" 0
}

@test "hook: an edit is merged against what its agent has read, and is its own" {
    printf 'first\n' >MEMORY.md
    strata track MEMORY.md >/dev/null
    tool="{\"tool_input\":{\"file_path\":\"$PWD/MEMORY.md\"}}"
    strata hook post-read <<<"$tool"
    # Bob has appended a line since; ann writes the whole file as she knows it.
    printf 'first\nof bob\n' >MEMORY.md
    STRATA_AGENT=bob strata hook post-edit <<<"$tool"
    printf 'of ann\nfirst\n' >MEMORY.md
    strata hook post-edit <<<"$tool"
    [ "$(cat MEMORY.md)" = "of ann
first
of bob" ]
    # Who has read it all and takes a line out, means it.
    strata hook post-read <<<"$tool"
    printf 'of ann\nfirst\n' >MEMORY.md
    strata hook post-edit <<<"$tool"
    [ "$(cat MEMORY.md)" = "of ann
first" ]
    # What was made of what ann had read is hers.
    strata log --json --limit 0 | jq -e '[.data.events[-2:][].agent] == ["ann", "ann"]' >/dev/null
    # A file that is not tracked, or none, is nothing to them.
    strata hook post-read <<<'{"tool_input":{"file_path":"/etc/passwd"}}'
    strata hook post-edit <<<'{}'
}

@test "hook: session-end gives back all of an agent's reservations of this work tree, and no other" {
    git worktree add -q ../tree
    for i in $(seq 20); do strata reserve "src/$i.c" >/dev/null; done
    STRATA_AGENT=bob strata reserve 'docs/**' >/dev/null
    (cd ../tree && strata reserve 'lib/**' >/dev/null)
    strata hook session-end <<<'{}'
    run strata reserve list --json
    jq -e '[.data[].pattern] | sort == ["docs/**", "lib/**"]' <<<"$output" >/dev/null
}

# calls NAME-AND-ARGUMENTS...: a line for each, as a client writes it
calls() {
    local id=0
    for call in "$@"; do
        id=$((id + 1))
        echo "{\"jsonrpc\":\"2.0\",\"id\":$id,\"method\":\"tools/call\",\"params\":{\"name\":$call,\"_meta\":{\"io.modelcontextprotocol/protocolVersion\":\"2026-07-28\",\"io.modelcontextprotocol/clientCapabilities\":{}}}}"
    done
}

@test "a sandbox that can write only a linked work tree" {
    command -v bwrap >/dev/null || skip "bubblewrap is not installed"
    git worktree add -q ../tree
    # The state as it is outside; the work tree writable.
    box=(bwrap --ro-bind / / --dev /dev --proc /proc --bind "$BATS_TEST_TMPDIR/tree" "$BATS_TEST_TMPDIR/tree"
        --chdir "$BATS_TEST_TMPDIR/tree" --unshare-user)
    "${box[@]}" true 2>/dev/null || skip "no user name spaces here"
    strata fact set api port 8080 >/dev/null
    records=$(strata status --json | jq .data.records)
    # The CLI reads.
    [ "$("${box[@]}" strata fact get api port)" = 8080 ]
    run "${box[@]}" strata prime
    has "$output" "you are ann"
    # A write is refused, says what to do, and leaves nothing behind, nowhere.
    run --separate-stderr "${box[@]}" strata fact set api port 9090
    [ "$status" -eq 6 ]
    has "$stderr" "read-only"
    has "$stderr" "nothing was recorded; use the MCP tools of this session, or ask the operator to open"
    has "$stderr" "$PWD/.git/strata for writing"
    [ "$(strata status --json | jq .data.records)" = "$records" ]
    [ -z "$(git -C ../tree status --porcelain)" ]
    [ ! -e ../tree/.strata ]
    # So is one through a server that was started inside; what it says helps there.
    run "${box[@]}" strata mcp < <(calls '"fact_set","arguments":{"entity":"api","attribute":"port","value":"1"}')
    has "$output" '"isError":true'
    has "$output" "nothing was recorded; ask the operator"
    [ "$(strata status --json | jq .data.records)" = "$records" ]
    # The same session's MCP server runs outside of the sandbox: its tools work.
    answers=$(cd ../tree && strata mcp < <(calls '"fact_set","arguments":{"entity":"api","attribute":"port","value":"9090"}' \
        '"fact_search","arguments":{"entity":"api"}' '"add","arguments":{"title":"build"}' '"next","arguments":{}' \
        '"update","arguments":{"id":"1","action":"done"}' '"message","arguments":{}' '"prime","arguments":{}' \
        '"reserve","arguments":{"path":"src/**"}' '"once_begin","arguments":{"key":"k","what":"mail"}' \
        '"once_report","arguments":{"key":"k","outcome":"done"}'))
    has "$answers" "replaced 8080"
    [ "$(jq -s 'length == 10 and all(.result.isError == false)' <<<"$answers")" = true ]
    [ "$("${box[@]}" strata fact get api port)" = 9090 ]
}
