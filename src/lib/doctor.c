/* doctor.c - checking everything: all logs, the index, what lies about. Repairs move aside and
 * rebuild, they never delete. */
#include "lib/internal.h"
#include "strong/strong.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct doctor {
    strata *s;
    bool fix;
    int (*visit)(void *arg, const strata_finding *f);
    void *arg;
    int result;
    bool bad; /* something of severity 2 remains */
};

__attribute__((format(printf, 5, 6))) static void
report(struct doctor *d, int severity, const char *path, bool fixed, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (severity == 2 && !fixed)
        d->bad = true;
    strata_finding f = {severity, text, path, fixed};
    if (d->result == 0)
        d->result = d->visit(d->arg, &f);
}

/* The end of what this replica has taken in of a writer; its own epoch: the tail. */
static uint64_t named_of(strata *s, const struct st_state *state, struct st_writer w)
{
    const struct st_writer_state *known = st_state_writer(state, w);
    (void)s;
    return known != NULL ? known->counter : 0;
}

static void check_writer(struct doctor *d, struct st_writer w, uint64_t named)
{
    struct st_log_reader r;
    struct st_str line;
    struct st_record head;
    enum st_code code = st_log_reader_open(&r, d->s->log.env, d->s->log.alloc, d->s->log.dir, w);
    struct st_record_scratch scratch;
    st_record_scratch_init(&scratch, d->s->log.alloc);
    while (code == ST_OK && (code = st_log_reader_next(&r, &line, &head)) == ST_OK)
        if (st_record_decode(line, &scratch, &head) != ST_OK) {
            report(d, 2, r.dir, false, "record %" PRIu64 " of %s cannot be read", r.counter, r.dir);
            break;
        }
    if (code == ST_DAMAGED && r.counter < named)
        report(d, 2, r.dir, false, "%s", r.fault.message);
    else if (code == ST_DAMAGED)
        report(d, 1, r.dir, false, "%s behind the last record taken in: %s", r.dir,
               r.fault.message);
    else if (r.counter < named)
        report(d, 2, r.dir, false, "%s ends at record %" PRIu64 "; %" PRIu64 " were taken in",
               r.dir, r.counter, named);
    else
        report(d, 0, r.dir, false,
               "%016" PRIx64 ", epoch %" PRIu64 ": %" PRIu64 " records, all whole", w.replica,
               st_epoch_ordinal(w.epoch), r.counter);
    st_record_scratch_release(&scratch);
    st_log_reader_close(&r);
}

static void check_logs(struct doctor *d)
{
    const struct st_state *state;
    struct st_writer *writers = NULL;
    size_t count = 0;
    int code = st_lib_begin(d->s);
    enum st_code got = code == STRATA_OK ? st_index_state(d->s->index, &state) : ST_OK;
    if (code != STRATA_OK || got != ST_OK) {
        report(d, 2, d->s->log.dir, false, "the state cannot be read: %s",
               strata_last_error(d->s)->message);
        st_lib_end(d->s);
        return;
    }
    got = st_log_writers(d->s->log.env, d->s->log.alloc, d->s->log.dir, &writers, &count);
    if (got != ST_OK)
        report(d, 2, d->s->log.dir, false, "the logs cannot be listed: %s", st_code_text(got));
    for (size_t i = 0; i < count; i++)
        check_writer(d, writers[i], named_of(d->s, state, writers[i]));
    st_lib_end(d->s);
    free(writers);
}

static bool totals_now(struct doctor *d, struct st_index_totals *t)
{
    if (st_lib_begin(d->s) != STRATA_OK)
        return false;
    st_index_totals(d->s->index, t);
    st_lib_end(d->s);
    return true;
}

/* A second index, built in memory from the logs alone, has to come to the same digest. */
static void check_index(struct doctor *d)
{
    struct st_log log;
    struct st_index *fresh = NULL;
    struct st_fault fault;
    struct st_index_totals have, should = {0};
    enum st_code code =
        st_log_open(&log, d->s->log.env, d->s->log.alloc, d->s->log.dir, true, "strata doctor");
    if (code == ST_OK)
        code = st_index_open(&fresh, &log, &fault);
    if (code == ST_OK)
        code = st_index_begin(fresh);
    if (code == ST_OK)
        st_index_totals(fresh, &should);
    st_index_close(fresh);
    st_log_close(&log);
    if (code != ST_OK || !totals_now(d, &have)) {
        report(d, 2, d->s->log.dir, false, "the index cannot be compared with the logs: %s",
               st_code_text(code));
        return;
    }
    if (have.records != should.records) {
        report(d, 1, d->s->log.dir, false,
               "somebody is writing: the index was not compared with the logs");
        return;
    }
    bool same = have.digest[0] == should.digest[0] && have.digest[1] == should.digest[1];
    bool fixed = false;
    if (!same && d->fix)
        fixed = st_index_rebuild(d->s->index) == ST_OK;
    if (same)
        report(d, 0, d->s->log.dir, false, "the index agrees with the logs (%" PRIu64 " records)",
               should.records);
    else
        report(d, 2, d->s->log.dir, fixed, "the index does not agree with the logs%s",
               fixed ? "; it was rebuilt" : "");
}

static void check_quarantine(struct doctor *d)
{
    char path[ST_PATH_SIZE + 16];
    snprintf(path, sizeof path, "%s/quarantine", d->s->log.dir);
    DIR *q = opendir(path);
    size_t count = 0;
    struct dirent *e;
    while (q != NULL && (e = readdir(q)) != NULL)
        count += e->d_name[0] != '.';
    if (q != NULL)
        closedir(q);
    if (count > 0)
        report(d, 1, path, false, "%zu torn tails lie in quarantine; they were never acknowledged",
               count);
}

static void check_clocks(struct doctor *d)
{
    strata_status st;
    if (strata_status_get(d->s, &st) != STRATA_OK)
        return;
    for (size_t i = 0; i < st.replica_count; i++)
        if (st.replicas[i].ahead_ms > 0)
            report(d, 1, "", false,
                   "the clock of %s is, or was, ahead of this machine's by %" PRId64 " s",
                   st.replicas[i].name, st.replicas[i].ahead_ms / 1000);
}

/* Every workspace is founded with one (st_strong_found). */
static void check_ledger(struct doctor *d)
{
    const struct st_log *log = &d->s->log;
    if (!st_strong_exists(log->env, log->dir))
        report(d, 2, log->dir, false,
               "the ledger of operations, locks and claims is gone: `strata merge-state` of a copy "
               "brings it back, `strata coordinator move --force` begins a new one");
}

int strata_doctor(strata *s, bool fix, int (*visit)(void *arg, const strata_finding *f), void *arg)
{
    struct doctor d = {.s = s, .fix = fix && !s->log.read_only, .visit = visit, .arg = arg};
    check_logs(&d);
    check_index(&d);
    check_quarantine(&d);
    check_clocks(&d);
    check_ledger(&d);
    if (d.result < 0)
        return d.result;
    if (!d.bad)
        return STRATA_OK;
    st_lib_fail(s, ST_DAMAGED, "something has to be mended, see above");
    return ST_DAMAGED;
}
