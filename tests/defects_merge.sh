#!/bin/sh
# defects_merge.sh - is the judge of merges able to find losses? With each deliberate defect of merging JSON
# Lines in the program, tests/merge_judge.py looks at random merges. See defects.sh.
. "$(dirname "$0")/defects.sh"
defects_of src/files/json*.c
program

caught_by() {
    link strata "$1"
    if python3 tests/merge_judge.py "$dir/strata" --random 30 >"$dir/out" 2>&1; then
        return
    fi
    # Complaining is not enough.
    if [ -z "$1" ] || grep -q '^losses: [1-9]' "$dir/out"; then
        echo "merge_judge ($(sed -n 's/^losses: //p' "$dir/out"))"
    fi
}

try_all
