#!/bin/sh
# json.sh - docs/json.md lists exactly the keys that each command prints with --json.
#
#   STRATA=build/strata tests/json.sh
set -eu

: "${STRATA:?path of the program}"
page=$(cd "$(dirname "$0")/.." && pwd)/docs/json.md
case $STRATA in
/*) ;;
*) STRATA=$PWD/$STRATA ;;
esac
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT INT TERM
unset STRATA_DIR STRATA_STATE_DIR
export STRATA_AGENT=ann
failed=0

# shellcheck disable=SC2016 # these are no commands
# The words in backticks of a text, sorted.
words() {
    grep -o '`[a-z_]*`' | tr -d '`' | sort
}

compare() {
    printf '%s\n' "$2" >"$dir/documented"
    printf '%s\n' "$3" >"$dir/printed"
    if ! diff -u "$dir/documented" "$dir/printed"; then
        echo "json.sh: docs/json.md is wrong about: $1" >&2
        failed=1
    fi
}

# row NAME COMMAND...: the command's data against the row of the table
row() {
    name=$1
    shift
    echo "$name" >>"$dir/compared"
    documented=$(sed -n "s/^| \`$name\`* |//p" "$page" | words)
    "$STRATA" "$@" --quiet --json >"$dir/out"
    compare "$name" "$documented" "$(jq -r '.data | keys[]' "$dir/out" | sort)"
}

# object NAME FILTER COMMAND...: what the filter picks against the first sentence of the paragraph;
# keys that depend on the kind may be left out
object() {
    name=$1 filter=$2
    shift 2
    echo "$name" >>"$dir/compared"
    documented=$(sed -n "/^\*\*$name\*\*/,/^\$/p" "$page" | tr '\n' ' ' |
        sed 's/^[^:]*: //; s/\. .*//; s/;.*//' | words)
    "$STRATA" "$@" --quiet --json >"$dir/out"
    compare "$name" "$documented" "$(jq -r ".data | $filter | keys[]" "$dir/out" | sort)"
}

mkdir "$dir/a" "$dir/b"
cd "$dir/a"
row init init --name a
plain='. | del(.value, .link, .replaced)'
object Written "$plain" fact set api port 8080
object Written "$plain" fact add api tag x
object Written "$plain" fact remove api tag x
row 'fact list' fact list
object Attribute '.facts[0]' fact list
object Item '.facts[0].items[0]' fact list
row 'count NAME' count builds +1
row count count
row beat beat busy
row 'agent list' agent list
object Agent '.agents[0]' agent list
row 'agent register' agent register
row 'agent retire' agent retire
row status status
object Replica '.replicas[0]' status
object Totals .tasks status
row doctor doctor
object Finding '.findings[0]' doctor
object Wiring .agents init --agents --dry-run
row uninit uninit
row search search api
row 'op begin' op begin --key k
row 'op prune' op prune --older-than 1h
object Operation . op show k
row 'reserve PATTERN' reserve 'src/**'
object Reservation '.[0]' reserve list
"$STRATA" lock acquire l >/dev/null
object Lock '.[0]' lock list
row prime prime
row history history api
object Event '.events[0] | del(.entity, .attribute, .value, .link, .current)' history api
row log log
"$STRATA" once --key k2 -- true
row 'log --ops' log --ops
object Command '.commands[0]' log --ops
row 'log verify' log verify
object Attribute . fact get api port
printf '{"entity":"db","attribute":"port","value":"5432"}\n' >facts.jsonl
row import import facts.jsonl
printf -- '- [ ] one\n' >TODO.md
row 'import TASKS' import TODO.md
row 'export --output' export --output out.jsonl
row --version --version

(cd "$dir/b" && "$STRATA" init --name b && "$STRATA" merge-state "$dir/a" &&
    "$STRATA" fact set api port 1 && "$STRATA" fact set db port 1) >/dev/null 2>&1
"$STRATA" fact set api port 2 >/dev/null
"$STRATA" fact set db port 2 >/dev/null
row merge-state merge-state "$dir/b"
row pending pending
object Pending '.pending[0]' pending
id=$("$STRATA" pending --json | jq -r '.data.pending[0].id')
row 'resolve ID' resolve "$id" --take 1
row 'resolve --all' resolve --all --take latest
# Ann has read 1; bob sets 2, which ann has not seen when she sets 3.
"$STRATA" fact set x y 1 >/dev/null
"$STRATA" fact set x y 2 --agent bob >/dev/null
"$STRATA" fact set x y 3 >/dev/null 2>&1
id=$("$STRATA" pending --unseen --json | jq -r '.data.pending[0].id')
row 'resolve --seen' resolve "$id" --seen
object Written "$plain" fact unset api port
object Written "$plain" fact unset db
"$STRATA" fact set x z 1 >/dev/null
"$STRATA" fact set x w 1 >/dev/null
row 'fact unset E`, several attributes' fact unset x
"$STRATA" fact set x z 1 >/dev/null
"$STRATA" fact set x w 1 >/dev/null
object Written '.written[0] | del(.value, .link, .replaced)' fact unset x

git init -q --bare "$dir/hub"
git init -q "$dir/c"
cd "$dir/c"
"$STRATA" init --name c >/dev/null
"$STRATA" fact set x y 1 >/dev/null
row sync sync "$dir/hub" --yes
object Remote '.remotes[0]' sync
row add add "write tests"
"$STRATA" add "run them" --after 1 >/dev/null
row 'dep add' dep add 2 1
object Task '.[0]' ready
object Task . update 1 --priority 1
row show show 1
row 'done' 'done' 1
row 'view add' view add facts
row 'view list' view list
row 'view render' view render
row 'view remove' view remove facts
echo text >doc.md
row 'track FILE' track doc.md
row track track
row append append doc.md more
row untrack untrack doc.md

# The report of the driver goes to standard error.
for side in base ours theirs; do
    echo '{"id":1}' >"$dir/$side.jsonl"
done
echo 'merge-driver`, on standard error' >>"$dir/compared"
# shellcheck disable=SC2016 # the backquotes are the page's
documented=$(sed -n 's/^| `merge-driver`[^|]* |//p' "$page" | words)
"$STRATA" merge-driver --json "$dir/base.jsonl" "$dir/ours.jsonl" "$dir/theirs.jsonl" 2>"$dir/out"
compare merge-driver "$documented" "$(jq -r '.data | keys[]' "$dir/out" | sort)"

# A new row or object has to be compared, too: the names of all are taken from the page.
# shellcheck disable=SC2016 # the same
sed -n '/^| command/,/^$/p' "$page" | grep -v ' | an object ' |
    sed -n 's/^| `\([^|]*[^|` ]\)`* | .*/\1/p' >"$dir/rows"
sed -n 's/^\*\*\([A-Z][a-z]*\)\*\*.*/\1/p' "$page" >"$dir/objects"
if [ ! -s "$dir/rows" ] || [ ! -s "$dir/objects" ]; then
    echo "json.sh: no rows or no objects found in docs/json.md" >&2
    failed=1
fi
while read -r name; do
    if ! grep -qxF -e "$name" "$dir/compared"; then
        echo "json.sh: docs/json.md has \`$name\`, that nothing is compared with" >&2
        failed=1
    fi
done <<END
$(cat "$dir/rows" "$dir/objects")
END
exit "$failed"
