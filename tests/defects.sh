# shellcheck shell=sh
# defects.sh - what the scripts defects_*.sh share. Each compiles the deliberate defects of its part
# (ST_DEFECT_*, never defined in a normal build) one at a time into the sources that know them; a test
# must then say no. First the tests must pass without. One line per defect, with who caught it; a
# defect that nobody notices fails the script.
#
#   tests/defects_NAME.sh [DEFECT...]    all of the part, or these
#   tests/defects_NAME.sh --list         the names of all
#
# Environment: CC (cc); BUILD: a build directory, whose archives everything else is taken from. Without
# it, that is compiled once.
#
# A script sources this file, says `defects_of FILE...` and how `caught_by DEFECT` finds out who notices
# it, and ends with `try_all`.
set -eu
cd "$(dirname "$0")/.."
cc=${CC:-cc}
build=${BUILD:-}
wanted=$*
dir=$(mktemp -d)
compiled=$dir
trap 'rm -rf "$dir"' EXIT INT TERM
flags="-std=gnu17 -O1 -w -D_GNU_SOURCE -fno-strict-aliasing -Iinclude -Isrc -I. -Itests"
ldflags=
at_once=1 # defects that are tried at one time: more where the tests mostly wait
libs="-lcmocka -lsqlite3 -lxxhash"
archives=

# defects_of FILE...: $defects is what these files know, or what was asked for
defects_of() {
    defects=$(grep -oh 'ST_DEFECT_[A-Z_]*' "$@" | sed 's/ST_DEFECT_//' | sort -u)
    case $wanted in
    --list)
        printf '%s\n' "$defects"
        exit 0
        ;;
    ?*) defects=$wanted ;;
    esac
}

# make_archive NAME FILE...: compiles the files, without a defect, in front of the other archives
make_archive() {
    name=$1
    shift
    mkdir "$dir/$name"
    printf '%s\n' "$@" |
        xargs -P 2 -I @ sh -c "$cc $flags -c @ -o $dir/$name/\$(echo @ | tr / _).o"
    ar rcs "$dir/$name.a" "$dir/$name"/*.o
    archives="$dir/$name.a $archives"
}

# the library, as it was built or with our flags
library() {
    if [ -n "$build" ]; then
        archives="$build/src/libstrata.a $archives"
    else
        library_here
    fi
}

# Merging JSON Lines is of the program, and needs jansson.
library_here() {
    # shellcheck disable=SC2046 # a list of words
    make_archive strata $(printf '%s\n' src/core/*.c src/store/*.c src/strong/*.c src/sync/*.c \
        src/files/*.c src/lib/*.c | grep -v files/json)
}

# the rest of the program, with its main()
program() {
    library
    if [ -n "$build" ]; then
        archives="$build/tests/libprogram.a $archives"
    else
        make_archive program src/edge/*.c src/mcp/*.c src/cli/*.c src/files/json*.c
    fi
    libs="-ljansson $libs"
}

# object FILE DEFECT: compiled once, with the defect if the file knows it
object() {
    define=
    if [ -n "$2" ] && grep -qw "ST_DEFECT_$2" "$1"; then
        define=-DST_DEFECT_$2
    fi
    # shellcheck disable=SC2154 # set by the script, with the flags
    object=$compiled/${variant:-}$(echo "$1" | tr / _)$define.o
    if [ ! -e "$object" ]; then
        # shellcheck disable=SC2086 # lists of words
        $cc $flags $define -c "$1" -o "$dir/new.o"
        mv "$dir/new.o" "$object"
    fi
    echo "$object"
}

# link PROGRAM DEFECT SOURCE...: these, what of the sources knows the defect, and the archives. A member of
# an archive is left out when all that it has to offer is there already.
link() {
    linked=$1 defect=$2
    shift 2
    objects=
    # shellcheck disable=SC2046 # a list of words
    [ -z "$defect" ] || set -- "$@" $(grep -lrw --include='*.c' "ST_DEFECT_$defect" src)
    for source in $(printf '%s\n' "$@" | sort -u); do
        objects="$objects $(object "$source" "$defect")"
    done
    # shellcheck disable=SC2086
    $cc $ldflags $objects $archives $libs -o "$dir/$linked"
}

# fails PROGRAM SECONDS [ARGUMENT...]: one that does not end has noticed nothing
fails() {
    running=$1 seconds=$2 status=0
    shift 2
    timeout "$seconds" "$dir/$running" "$@" >"$dir/out" 2>&1 || status=$?
    [ "$status" -ne 0 ] && [ "$status" -ne 124 ]
}

# Of a program that fails: the tests that did, or how it ended if it did not come so far.
failed_tests() {
    names=$(sed -n 's/^\[  FAILED  \] \(test_[a-z0-9_]*\).*/\1/p' "$dir/out" | sort -u)
    count=$(printf '%s\n' "$names" | wc -l)
    if [ -z "$names" ]; then
        echo "$running (exit $status)"
    elif [ "$count" -eq 1 ]; then
        echo "$running ($names)"
    else
        echo "$running ($count tests, $(echo "$names" | head -n 1))"
    fi
}

# One defect, in a directory and a process of its own; what is to be said of it
try_one() {
    said=$dir/said_$1
    dir=$dir/of_$1
    mkdir "$dir"
    by=$(caught_by "$1")
    if [ -n "$by" ]; then
        echo "caught  $1: $(echo "$by" | paste -sd ';' | sed 's/;/; /g')"
    else
        echo "MISSED  $1"
    fi >"$said"
    rm -rf "$dir"
}

try_all() {
    by=$(caught_by "")
    if [ -n "$by" ]; then
        echo "fails without any defect: $by" >&2
        tail -n 20 "$dir/out" >&2
        exit 1
    fi
    n=0
    for defect in $defects; do
        try_one "$defect" &
        n=$((n + 1))
        [ $((n % at_once)) -ne 0 ] || wait
    done
    wait
    missed=0
    for defect in $defects; do
        cat "$dir/said_$defect"
        grep -q '^caught' "$dir/said_$defect" || missed=1
    done
    exit "$missed"
}
