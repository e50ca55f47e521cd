#!/bin/sh
# tasks_data.sh - real trackers: what is ready agrees with a plain computation, and an export gives
# back what was imported.
#
#   STRATA=build/strata tests/tasks_data.sh
#
# The data is not part of the project ($STRATA_SHARED/data, else ../shared/data); without it the test
# is skipped.
set -eu

: "${STRATA:?path of the program}"
data=${STRATA_SHARED:-$(cd "$(dirname "$0")/.." && pwd)/../shared}/data/issues
[ -f "$data/beads.issues.jsonl.gz" ] || data=$(cd "$(dirname "$0")/.." && pwd)/../../shared/data/issues
if [ ! -f "$data/beads.issues.jsonl.gz" ]; then
    echo "no data in $data: skipped"
    exit 77
fi
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT INT TERM
unset STRATA_DIR STRATA_STATE_DIR
export STRATA_AGENT=ann
gzip -dc "$data/beads.issues.jsonl.gz" >"$dir/beads.jsonl"
# The second tracker keeps its dependencies apart.
gzip -dc "$data/gastown.dependencies.jsonl.gz" | jq -s 'group_by(.issue_id) |
    map({key: .[0].issue_id, value: .}) | from_entries' >"$dir/dependencies.json"
gzip -dc "$data/gastown.issues.jsonl.gz" | jq -c --slurpfile d "$dir/dependencies.json" \
    '. + (if $d[0][.id] then {dependencies: $d[0][.id]} else {} end)' >"$dir/gastown.jsonl"

# Open, and everything that it is blocked by and that is known is closed.
ready() {
    jq -rs '(map({key: .id, value: .status}) | from_entries) as $status | .[] |
        select(.status == "open") |
        select([.dependencies // [] | .[] | select(.type == "blocks" or .type == "blocked-by") |
            $status[.depends_on_id] | select(. != null and . != "closed" and . != "tombstone")] |
            length == 0) | .id' "$1" | sort
}

for name in beads gastown; do
    mkdir "$dir/$name"
    cd "$dir/$name"
    "$STRATA" init -q >/dev/null
    "$STRATA" import --format beads "$dir/$name.jsonl" --json 2>/dev/null >imported
    count=$(wc -l <"$dir/$name.jsonl")
    [ "$(jq .data.added imported)" -eq "$count" ]
    ready "$dir/$name.jsonl" >expected
    "$STRATA" ready --limit 0 --json --quiet | jq -r '.data[].key' | sort >printed
    diff expected printed
    [ "$(wc -l <expected)" -gt 10 ]
    "$STRATA" export --format beads | jq -cS . | sort >exported
    jq -cS . "$dir/$name.jsonl" | sort >original
    cmp original exported
    "$STRATA" import --format beads "$dir/$name.jsonl" --json 2>/dev/null >again
    [ "$(jq .data.same again)" -eq "$count" ]
    echo "$name: $count tasks, $(wc -l <expected) ready, given back as they came"
done
