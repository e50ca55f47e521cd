#!/bin/sh
# defects_files.sh - every deliberate defect of views and tracked documents must be caught. See defects.sh.
. "$(dirname "$0")/defects.sh"
defects_of src/files/block.c src/files/kept.c src/files/lines.c src/files/re*.c src/files/view*.c \
    src/lib/files*.c src/lib/views.c src/lib/documents.c
library
ldflags=-Wl,--wrap=st_env_posix

caught_by() {
    for name in views queue; do
        link "test_lib_$name" "$1" tests/lib_world.c "tests/test_lib_$name.c"
        if fails "test_lib_$name" 200; then
            failed_tests
            return
        fi
    done
}

try_all
