#!/usr/bin/env bats
# readonly.bats - a state that cannot be written: reading works and is right, writing is refused with
# a clear answer, and nothing is recorded, nowhere.
#
#   STRATA=build/strata bats tests/readonly.bats
#
# Two ways of making it so: another user without write permission, and a read-only mount. Each is
# skipped with a notice where it is not possible (not root, no mount namespaces).

load helpers

setup() {
    program_alone
    # Another user must be able to come here.
    place=$(mktemp -d)
    chmod 755 "$place"
    cd "$place"
    # Where another user can run it from.
    cp "$STRATA" ./strata
    chmod 755 strata
    mkdir work
    cd work
    ../strata init --name desk >/dev/null
    ../strata --agent ann fact set api port 1 >/dev/null
    ../strata --agent ann fact set api port 8443 >/dev/null
    ../strata --agent bob fact set web port 80 >/dev/null
    ../strata count runs +3 >/dev/null
    chmod -R go+rX,go-w .
}

teardown() {
    cd /
    rm -rf "$place"
}

# The command as somebody who cannot write the state.
reader() {
    case $way in
    user) setpriv --reuid=65534 --regid=65534 --clear-groups "$@" ;;
    mount) unshare -m sh -c 'mount --bind . . && mount -o remount,bind,ro . && cd "$PWD" && exec "$@"' \
        sh "$@" ;;
    esac
}

possible() {
    case $way in
    user) [ "$(id -u)" -eq 0 ] && reader test -x ../strata && reader test -r .strata/identity &&
        ! reader sh -c ': >.strata/x' 2>/dev/null ;;
    mount) unshare -m true 2>/dev/null && ! reader sh -c ': >.strata/x' 2>/dev/null ;;
    esac || skip "NOTICE: cannot make the state read-only by $way here"
}

everything() {
    find .strata -type f -exec cksum {} + | sort
}

# one TEXT COMMAND...: it succeeds, and its output has the text.
one() {
    local text=$1
    shift
    run --separate-stderr reader ../strata "$@"
    if [ "$status" -ne 0 ] || [[ $output != *"$text"* ]]; then
        echo "$*: exit $status: $output $stderr"
        return 1
    fi
}

reads() {
    one 8443 fact get api port
    one 8443 fact list
    one web fact list
    one 8443 history api port
    one desk status
    one api search 8443
}

refuses() {
    before=$(everything)
    for command in "fact set api port 9" "fact unset api port" "fact add api tags x" "count runs +1" \
        "fact set api port 9 --expect 8443" "beat working"; do
        # shellcheck disable=SC2086
        run --separate-stderr reader ../strata --agent eve $command
        if [ "$status" -ne 6 ] || [[ $stderr != *"read-only"*"nothing was recorded"* ]]; then
            echo "$command: exit $status: $output $stderr"
            return 1
        fi
    done
    [ "$(everything)" = "$before" ]
    [ "$(find . -newer .strata/identity -name '*eve*')" = "" ]
}

with_and_without_index() {
    possible
    reads
    refuses
    reads
    rm -f .strata/index.db*
    reads
    refuses
    reads
    [ ! -e .strata/index.db ]
    # Behind: the index knows less than the log.
    ../strata status >/dev/null
    chmod -R go+rX .strata
    cp .strata/index.db ../index.early
    ../strata fact set api port 7
    rm -f .strata/index.db*
    cp ../index.early .strata/index.db
    chmod -R go+rX .strata
    run --separate-stderr reader ../strata fact get api port
    [ "$status" -eq 0 ]
    [ "$output" = 7 ]
    # Afterwards, for those who may, everything goes on.
    ../strata fact set api port 10
    [ "$(../strata fact get api port)" = 10 ]
}

@test "another user can read, and cannot write" {
    way=user
    with_and_without_index
}

@test "a read-only mount can be read, and not written" {
    way=mount
    with_and_without_index
}

@test "a reader sees what is written meanwhile" {
    way=user
    possible
    [ "$(reader ../strata fact get api port)" = 8443 ]
    ../strata fact set api port 1
    chmod -R go+rX .strata
    [ "$(reader ../strata fact get api port)" = 1 ]
}

@test "merging into a read-only state is refused" {
    way=user
    possible
    cp -r . ../copy
    (cd ../copy && ../strata fact set copy port 5 && chmod -R go+rX .)
    before=$(everything)
    run --separate-stderr reader ../strata merge-state ../copy
    [ "$status" -eq 6 ]
    [ "$(everything)" = "$before" ]
    # From a read-only state it works.
    reader test ! -w ../copy/.strata/log
    ../strata merge-state ../copy
    [ "$(../strata fact get copy port)" = 5 ]
}
