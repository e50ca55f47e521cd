#!/bin/sh
# defects_all.sh - every deliberate defect of the sources is tried by one of the scripts defects_*.sh, each of
# these knows some, and Meson runs them all.
set -eu
cd "$(dirname "$0")/.."
failed=0
say() {
    echo "defects_all.sh: $*" >&2
    failed=1
}

known=$(grep -roh --include='*.[ch]' 'ST_DEFECT_[A-Z_]*' src sim tests | sed 's/ST_DEFECT_//' | sort -u)
[ "$(printf '%s\n' "$known" | wc -l)" -gt 50 ] || say "only these defects found: $known"
tried=
for script in tests/defects_*.sh; do
    name=$(basename "$script" .sh | sed 's/^defects_//')
    [ "$name" != all ] || continue
    list=$("$script" --list)
    [ -n "$list" ] || say "$script knows no defect"
    tried="$tried
$list"
    grep -q "foreach name : \[.*'$name'.*\]" tests/meson.build || say "Meson does not run $script"
done
for defect in $known; do
    printf '%s\n' "$tried" | grep -qx "$defect" || say "no script tries $defect"
done
[ "$failed" -eq 1 ] || echo "$(printf '%s\n' "$known" | wc -l) defects, each is tried"
exit "$failed"
