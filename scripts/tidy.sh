#!/bin/sh
# tidy.sh - clang-tidy, as .clang-tidy says, over every C file that is compiled in a build directory, each
# once. Any finding fails.
#
#   scripts/tidy.sh BUILD_DIR [PATTERN]      only files whose path matches the extended regular expression
set -eu

cd "$(dirname "$0")/.."
build=${1:?build directory}
pattern=${2:-.}
dir=$build/tidy
mkdir -p "$dir"
# Files of several targets are there several times, and would be looked at as often.
jq 'unique_by(.file)' "$build/compile_commands.json" >"$dir/compile_commands.json"
status=0
jq -r '.[] | .directory + "/" + .file' "$dir/compile_commands.json" | xargs realpath | grep -E "$pattern" |
    xargs -P "$(nproc)" -n 1 clang-tidy --quiet -p "$dir" >"$dir/findings" 2>"$dir/log" || status=$?
cat "$dir/findings"
if [ "$status" -ne 0 ] && [ ! -s "$dir/findings" ]; then
    cat "$dir/log" >&2
fi
echo "clang-tidy: $(jq length "$dir/compile_commands.json") files, $(grep -c ' error: ' "$dir/findings") findings"
exit "$status"
