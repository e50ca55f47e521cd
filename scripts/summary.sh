#!/bin/sh
# summary.sh - what `meson test` found, from its log: the names of failed and skipped tests, with the
# last lines of what the failed ones said (all that some keep of a CI run is its end), then "N passed,
# N failed" alone on the last line. Exit status 1 when something failed or nothing ran.
#
#   scripts/summary.sh BUILD_DIR [MORE_FAILURES]
set -eu

log=${1:?build directory}/meson-logs/testlog.json
more=${2:-0}
[ -f "$log" ] || log=/dev/null
jq -nrj --argjson more "$more" '
    [inputs] as $tests
    | ($tests | map(select(.result | IN("OK", "EXPECTEDFAIL")))) as $passed
    | ($tests | map(select(.result | IN("SKIP")))) as $skipped
    | ($tests | map(select(.result | IN("OK", "EXPECTEDFAIL", "SKIP") | not))) as $failed
    | ($skipped[] | "skipped: \(.name)\n"),
      ($failed[] | "failed: \(.name) (\(.result))\n",
           ((.stdout // "") + (.stderr // "") | split("\n") | map(select(test("\\S") and
             (test("^ok |^caught|\\[ RUN |\\[ +OK ") | not))) | .[-8:][] | "    \(.[:200])\n")),
      (($failed | length) + $more | if . == 0 and ($passed | length) == 0 then 1 else . end
       | "\($passed | length) passed, \(.) failed\n", if . > 0 then halt_error(1) else empty end)
    ' "$log" 2>/dev/null
