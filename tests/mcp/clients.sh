#!/bin/sh
# clients.sh - the clients themselves: `strata init --agents` wires Claude Code, Codex and OpenClaw, each
# connects to `strata mcp`, `strata uninit` takes it back. Nothing of the user's is touched: HOME is a new
# directory. No model is asked. 1.5 GB of packages from npm, so this is no part of `make check`:
#
#   STRATA=build/strata tests/mcp/clients.sh DIR      (make judges)
#
# DIR is where the clients are put; what is there already is used again. Skipped (77) where they cannot
# be had.
set -eu

: "${STRATA:?path of the program}"
program=$(realpath "$STRATA")
mkdir -p "${1:?directory}"
dir=$(realpath "$1")
here=$(cd "$(dirname "$0")" && pwd)
"$here/judges.sh" "$dir/judges"
node=$(dirname "$(ls "$dir"/judges/node_modules/node-linux-*/bin/node)")
"$here/judges.sh" "$dir/clients" @anthropic-ai/claude-code@2.1.332 @openai/codex@0.169.0 openclaw@2026.9.6
bin=$dir/clients/node_modules

work=$(mktemp -d "${TMPDIR:-/tmp}/strata-clients.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
export HOME="$work/home" PATH="$work/bin:$node:/usr/bin:/bin"
unset STRATA_DIR STRATA_STATE_DIR STRATA_AGENT CLAUDE_ENV_FILE CLAUDE_PROJECT_DIR XDG_STATE_HOME
mkdir -p "$HOME" "$work/bin" "$work/tree"
ln -s "$(ls "$bin"/@anthropic-ai/claude-code-linux-*/claude)" "$work/bin/claude"
ln -s "$bin/.bin/codex" "$bin/.bin/openclaw" "$work/bin"
# Keeps what Codex and the server say to each other.
cat >"$work/bin/strata" <<EOF
#!/bin/sh
case \$1 in mcp) tee -a "$work/asked" | "$program" "\$@" | tee -a "$work/answered" ;; *) exec "$program" "\$@" ;; esac
EOF
chmod +x "$work/bin/strata"

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

# says TEXT COMMAND...: the command's output has the text
says() {
    text=$1
    shift
    "$@" </dev/null >"$work/out" 2>&1 || true
    grep -q -- "$text" "$work/out" || {
        cat "$work/out"
        fail "$* does not say '$text'"
    }
    echo "ok: $1 $2 $3: $text"
}

cd "$work/tree"
git init -q .
strata init --name desk >/dev/null
for round in 1 2; do
    strata init --agents --yes >"$work/out" 2>&1
    if grep "left to do" "$work/out"; then
        cat "$work/out"
        fail "a client could not be wired"
    fi
    echo "ok: wired, round $round"
    says "strata: strata mcp.*Connected" claude mcp list
    says "^strata .*enabled" codex mcp list
    [ "$round" -eq 1 ] || break
    [ -z "$(git status --porcelain --untracked-files=no)" ] || fail "a tracked file was changed"
    strata uninit --yes >"$work/out" 2>&1
    [ "$(grep -c "taken back: client" "$work/out")" -eq 3 ] || fail "$(cat "$work/out")"
    says "No MCP servers configured" claude mcp list
    says "No MCP servers configured" codex mcp list
done

says '"tools": 10' openclaw mcp probe strata --json

# No model can be reached; the servers are started before it is asked.
: >"$work/answered"
timeout 120 codex exec --skip-git-repo-check -c 'model_provider="none"' -c 'model="none"' \
    -c 'model_providers.none={name="none",base_url="http://127.0.0.1:9/v1",wire_api="responses"}' hello \
    </dev/null >"$work/out" 2>&1 &
codex=$!
tries=0
until grep -q '"name":"fact_set"' "$work/answered"; do
    tries=$((tries + 1))
    [ "$tries" -lt 100 ] || fail "codex exec has not asked for the tools: $(cat "$work/out")"
    sleep 1
done
kill "$codex"
echo "ok: codex exec has the tools"
