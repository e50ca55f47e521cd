# Forwards to Meson and to the scripts; nothing is built here.
BUILD ?= build
MESON_ARGS ?=

.PHONY: all demo check judges soak bench asan tidy fuzz format lint install clean

all:
	./scripts/setup.sh $(BUILD) $(MESON_ARGS)
	ninja -C $(BUILD)

demo:
	BUILD=$(BUILD) ./scripts/demo.sh

check:
	./scripts/deps.sh check
	$(MAKE) all
	meson test -C $(BUILD) --print-errorlogs

# Claude Code, Codex and OpenClaw themselves connect; 1.5 GB of packages from npm, kept in the build
# directory. No part of `make check`.
judges: all
	meson test -C $(BUILD) --print-errorlogs --suite clients

# Two copies, six agents, all layers at once, killed at random: looks for what no other test thinks of.
soak: all
	STRATA=$(BUILD)/strata python3 tests/soak.py $(SECONDS)

bench: all
	BUILD=$(BUILD) ./bench/run.sh

# GCC's AddressSanitizer and UndefinedBehaviorSanitizer under everything that the tests start; TESTS: only
# these. The deliberate defects are left out: their programs are built without.
asan:
	./scripts/deps.sh check
	./scripts/setup.sh $(BUILD)-asan --buildtype=debugoptimized -Db_sanitize=address,undefined
	ninja -C $(BUILD)-asan
	ASAN_OPTIONS=abort_on_error=1 UBSAN_OPTIONS=halt_on_error=1:abort_on_error=1:print_stacktrace=1 \
	    meson test -C $(BUILD)-asan --print-errorlogs --timeout-multiplier 4 --no-suite defects $(TESTS)

# Any finding fails. It takes minutes, so it is not part of check.
tidy: all
	./scripts/deps.sh style
	./scripts/tidy.sh $(BUILD)

fuzz:
	./scripts/deps.sh check
	./scripts/fuzz.sh

format:
	./scripts/deps.sh style
	git ls-files '*.c' '*.h' | xargs clang-format -i

lint:
	./scripts/deps.sh style
	git ls-files '*.c' '*.h' | xargs clang-format --dry-run --Werror
	git ls-files '*.sh' .ci/run | xargs shellcheck

install: all
	meson install -C $(BUILD)

clean:
	rm -rf $(BUILD) $(BUILD)-asan $(BUILD)-fuzz $(BUILD)-ci-*
