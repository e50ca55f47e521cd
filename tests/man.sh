#!/bin/sh
# man.sh - the man pages, made from the table of commands: one for every command that strata(1)
# lists, without a warning of mandoc.
#
#   STRATA=build/strata tests/man.sh
set -eu

: "${STRATA:?path of the program}"
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT INT TERM
failed=0

# ".It Cm fact set Ar ENTITY ATTRIBUTE VALUE"
"$STRATA" help --man strata | sed -n '/^\.Ss Commands/,/^\.El/s/^\.It Cm \([a-z -]*\).*/\1/p' |
    sed 's/ *$//' >"$dir/commands"
count=$(wc -l <"$dir/commands")
if [ "$count" -lt 20 ]; then
    echo "man.sh: only $count commands found in strata(1)" >&2
    exit 1
fi

page() {
    file=$dir/$(printf '%s' "$1" | tr ' ' '-').1
    # shellcheck disable=SC2086 # "fact set" is two arguments
    if ! "$STRATA" help --man $1 >"$file"; then
        echo "man.sh: no page for $1" >&2
        failed=1
    fi
    if ! mandoc -Tlint -W warning "$file" >"$dir/lint" 2>&1; then
        sed "s|^mandoc: $file|$1|" "$dir/lint" >&2
        failed=1
    fi
    grep -q '^\.Sh EXAMPLES' "$file" || {
        echo "man.sh: the page of $1 has no examples" >&2
        failed=1
    }
}

page strata
while read -r command; do
    page "$command"
    # The page of the program refers to it.
    grep -q "strata-$(printf '%s' "$command" | tr ' ' '-')" "$dir/strata.1" || {
        echo "man.sh: strata(1) does not refer to $command" >&2
        failed=1
    }
done <"$dir/commands"

# Can it fail? mandoc has to complain of a page that is wrong.
printf '.Dd today\n.Dt X 1\n.Sh NAME\n.Xx\n' >"$dir/wrong.1"
if mandoc -Tlint -W warning "$dir/wrong.1" >/dev/null 2>&1; then
    echo "man.sh: mandoc does not complain of a wrong page" >&2
    failed=1
fi
exit "$failed"
