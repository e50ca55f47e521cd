#!/bin/sh
# judges.sh - installs the programs that judge the MCP server from outside, with pinned versions, from
# the npm registry into a directory, unless they are there. Exit status 77 with a notice when npm or the
# registry cannot be reached.
#
#   tests/mcp/judges.sh DIR [PACKAGE@VERSION...]      without packages: the judges
set -eu

dir=${1:?directory}
shift
case $(uname -m) in
x86_64) arch=x64 ;;
aarch64) arch=arm64 ;;
*) arch=none ;;
esac
# The judges want a newer Node than Debian has.
judges="node-linux-$arch@24.21.0
@modelcontextprotocol/inspector@2.12.0
@modelcontextprotocol/sdk@1.32.2
@modelcontextprotocol/client@2.4.0
@modelcontextprotocol/conformance@0.2.0-alpha.12
@modelcontextprotocol/server-memory@2026.8.31"
packages=$(printf '%s\n' "${@:-$judges}")

skip() {
    echo "judges.sh: $*; the judges from outside are left out"
    exit 77
}

[ "$(cat "$dir/judges" 2>/dev/null || true)" != "$packages" ] || exit 0
command -v npm >/dev/null || skip "npm is not installed"
rm -rf "$dir"
mkdir -p "$dir"
# shellcheck disable=SC2086 # a list of words
timeout 900 npm install --prefix "$dir" --no-audit --no-fund --ignore-scripts --no-package-lock \
    --loglevel error $packages >"$dir/npm.log" 2>&1 || {
    tail -n 5 "$dir/npm.log"
    skip "npm could not install them"
}
printf '%s\n' "$packages" >"$dir/judges"
