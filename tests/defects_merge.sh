#!/bin/sh
# defects_merge.sh - is the judge of merges able to find losses? With each deliberate defect of merging JSON
# Lines in the program, tests/merge_judge.py looks at random merges; the fuzz target of merging by lines has to
# notice those of it in its corpus. See defects.sh.
. "$(dirname "$0")/defects.sh"
defects_of src/files/json*.c src/files/lines.c
program

caught_by() {
    link merge_lines "$1" fuzz/replay.c fuzz/fuzz_merge_lines.c
    if fails merge_lines 30 fuzz/corpus/merge_lines/*; then
        echo "merge_lines"
        return
    fi
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
