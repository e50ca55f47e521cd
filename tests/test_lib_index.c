/* test_lib_index.c - the index is only a cache: whatever happens to its file, and whoever holds its
 * lock, answers are right, nothing is lost, and it is mended without being asked. */
#include "lib_world.h"

#include "lib/internal.h"
#include "store/index_internal.h"
#include "store/search.h"

#include <glob.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define FACTS 400

/* A workspace with facts, history, members, counters, and something overwritten unseen. */
static void fill(const char *name)
{
    strata *a = world_open(name, "anna"), *b = world_open(name, "bert");
    for (int i = 0; i < FACTS; i++) {
        char entity[32], value[300];
        snprintf(entity, sizeof entity, "thing%d", i % 200);
        snprintf(value, sizeof value, "%d %0250d", i, i);
        strata_op ops[] = {
            {.kind = STRATA_SET,
             .entity = entity,
             .attribute = "note",
             .value = value,
             .value_size = STRATA_NUL},
            {.kind = STRATA_COUNT, .entity = "things", .delta = 1},
        };
        ok(a, strata_write(a, ops, 2, STRATA_NO_FLUSH, NULL, NULL));
    }
    world_get(a, "thing1", "note");
    world_get(b, "thing1", "note");
    world_set(a, "thing1", "note", "anna's");
    world_set(b, "thing1", "note", "bert's");
    ok(a, world_write(a, STRATA_ADD, "x", "tags", "red", NULL));
    strata_close(a);
    strata_close(b);
}

static int visit_event(void *arg, const strata_event *e)
{
    (void)e;
    (*(size_t *)arg)++;
    return 0;
}

static int visit_attribute(void *arg, const strata_attribute *a)
{
    (void)a;
    (*(size_t *)arg)++;
    return 0;
}

/* Everything that fill() wrote is there, through every kind of reading. */
static void check(const char *name, const char *digest)
{
    strata *s = world_open(name, "eve");
    strata_status st;
    size_t events = 0, found = 0, listed = 0;
    int64_t total;
    ok(s, strata_status_get(s, &st));
    assert_string_equal(st.digest, digest);
    world_shows(s, "thing1", "note", "bert's");
    ok(s, strata_counter_get(s, "things", &total));
    assert_int_equal(total, FACTS);
    ok(s, strata_history(s, "thing1", "note", 0, visit_event, &events));
    assert_int_equal(events, 4);
    ok(s, strata_search(s, "bert", 10, visit_attribute, &found));
    assert_int_equal(found, 1);
    ok(s, strata_fact_each(s, NULL, visit_attribute, &listed));
    assert_int_equal(listed, 201);
    assert_int_equal(world_pending(s, STRATA_PENDING_UNSEEN, NULL), 1);
    strata_close(s);
}

static bool is_private(const char *name)
{
    strata *s = world_open(name, NULL);
    struct st_index_totals t;
    ok(s, st_lib_begin(s));
    st_index_totals(s->index, &t);
    st_lib_end(s);
    strata_close(s);
    return t.private;
}

static void checkpoint(const char *name)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(world_file(name, "index.db"), &db), SQLITE_OK);
    sqlite3_exec(db, "PRAGMA wal_checkpoint(TRUNCATE)", NULL, NULL, NULL);
    sqlite3_close(db);
}

static void set_version(const char *name, int version)
{
    sqlite3 *db;
    char sql[64];
    snprintf(sql, sizeof sql, "PRAGMA user_version=%d", version);
    assert_int_equal(sqlite3_open(world_file(name, "index.db"), &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static const char *const damages[] = {
    "rm -f index.db index.db-wal index.db-shm",
    "rm -f index.db",
    "rm -f index.db-wal index.db-shm",
    ": >index.db",
    ": >index.db; rm -f index.db-wal index.db-shm",
    "head -c 5000 /dev/zero | tr '\\0' 'x' >index.db; rm -f index.db-wal index.db-shm",
    "head -c 100000 /dev/urandom >index.db",
    "head -c 100000 /dev/urandom >index.db-wal; head -c 32768 /dev/urandom >index.db-shm",
    "head -c 1000 index.db >t; mv t index.db; rm -f index.db-wal index.db-shm",
    "head -c 4096 index.db >t; mv t index.db; rm -f index.db-wal index.db-shm",
    "head -c 40960 index.db >t; mv t index.db; rm -f index.db-wal index.db-shm",
    "dd if=/dev/urandom of=index.db bs=4096 seek=1 count=8 conv=notrunc status=none",
    "cp index.db.other index.db; rm -f index.db-wal index.db-shm",
};

/* The first command has not to wait until files, and their names, are on disk. */
static void test_init_makes_index_and_segment(void **state)
{
    (void)state;
    glob_t found;
    world_init("w");
    assert_int_equal(access(world_file("w", "index.db-wal"), F_OK), 0);
    assert_int_equal(glob(world_file("w", "log/*/0000000000000001.jsonl"), 0, NULL, &found), 0);
    globfree(&found);
}

static void test_damaged_index(void **state)
{
    (void)state;
    char digest[33];
    world_init("w");
    world_init("other");
    fill("w");
    fill("other");
    world_digest("w", digest);
    world_digest("other", (char[33]){0});
    check("w", digest);
    checkpoint("w");
    checkpoint("other");
    world_run("cp -a w/.strata saved && cp other/.strata/index.db saved/index.db.other");
    for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
        /* In place: a copied state would be recognised, and begin a new epoch. */
        world_run("cp saved/index.db* w/.strata/ && cd w/.strata && rm -f index.db-wal index.db-shm"
                  " && { %s; }",
                  damages[i]);
        print_message("%s\n", damages[i]);
        check("w", digest);
        assert_false(is_private("w"));
        check("w", digest);
    }
}

/* Damage that shows only in the middle of a read: that command may fail, with a clear message; the
 * next one works. */
static void test_damage_found_while_reading(void **state)
{
    (void)state;
    char digest[33];
    world_init("w");
    fill("w");
    world_digest("w", digest);
    check("w", digest);
    checkpoint("w");
    world_run("f=w/.strata/index.db && n=$(($(stat -c %%s $f) / 4096)) && "
              "dd if=/dev/zero of=$f bs=4096 seek=12 count=$((n - 12)) conv=notrunc status=none");
    strata *s = world_open("w", NULL);
    size_t listed = 0;
    int code = strata_fact_each(s, NULL, visit_attribute, &listed);
    if (code != STRATA_OK) {
        assert_int_equal(code, STRATA_DAMAGED);
        assert_non_null(strstr(strata_last_error(s)->message, "index"));
        assert_non_null(strstr(strata_last_error(s)->hint, "try again"));
        listed = 0;
        ok(s, strata_fact_each(s, NULL, visit_attribute, &listed));
    }
    assert_int_equal(listed, 201);
    strata_close(s);
    check("w", digest);
    assert_false(is_private("w"));
}

/* Whether a handle has no index file; it shows what anna has written last. */
static bool does_without(strata *s, const char *note)
{
    struct st_index_totals t;
    world_shows(s, "thing1", "note", note);
    ok(s, st_lib_begin(s));
    st_index_totals(s->index, &t);
    st_lib_end(s);
    return t.private;
}

static void test_back_to_the_file(void **state)
{
    (void)state;
    char digest[33], again[33];
    world_init("w");
    fill("w");
    world_run("cd w/.strata && rm -f index.db* && mkdir index.db");
    strata *s = world_open("w", "anna");
    assert_true(does_without(s, "bert's"));
    world_set(s, "thing1", "note", "one");
    assert_true(does_without(s, "one"));

    /* Nothing is better yet. */
    world_term_ms += ST_INDEX_RETRY_MS;
    assert_true(does_without(s, "one"));
    world_run("rmdir w/.strata/index.db");
    world_set(s, "thing1", "note", "two");
    assert_true(does_without(s, "two"));
    world_term_ms += ST_INDEX_RETRY_MS;
    assert_false(does_without(s, "two"));
    world_set(s, "thing1", "note", "three");
    assert_false(does_without(s, "three"));
    strata_close(s);
    world_digest("w", digest);
    world_rebuilt_digest("w", again);
    assert_string_equal(digest, again);
}

/* Somebody who holds the index lock is not waited for, and what is in memory is not lost for that. */
static void test_the_file_is_not_waited_for(void **state)
{
    (void)state;
    world_init("w");
    fill("w");
    world_run("cd w/.strata && rm -f index.db* && mkdir index.db");
    strata *s = world_open("w", "anna"), *other = world_open("w", "bert");
    assert_true(does_without(s, "bert's"));
    world_run("rmdir w/.strata/index.db");
    assert_int_equal(st_log_take(&other->log, ST_LOCK_INDEX, 0), ST_OK);
    world_set(s, "thing1", "note", "one");
    world_term_ms += ST_INDEX_RETRY_MS;
    assert_true(does_without(s, "one"));
    st_log_drop(&other->log, ST_LOCK_INDEX);
    assert_true(does_without(s, "one"));
    world_term_ms += ST_INDEX_RETRY_MS;
    assert_false(does_without(s, "one"));
    strata_close(other);
    strata_close(s);
}

static void test_index_of_another_version(void **state)
{
    (void)state;
    char digest[33];
    world_init("w");
    fill("w");
    world_digest("w", digest);
    static const int versions[] = {0, 2, 1000, -1};
    for (size_t i = 0; i < sizeof versions / sizeof versions[0]; i++) {
        set_version("w", versions[i]);
        check("w", digest);
        assert_false(is_private("w"));
    }
}

/* The index has applied what the log, restored from an earlier moment, no longer has. */
static void test_index_ahead_of_its_log(void **state)
{
    (void)state;
    char early[33], late[33], digest[33];
    world_init("w");
    fill("w");
    world_digest("w", early);
    world_run("cp -r w early");
    strata *s = world_open("w", "anna");
    world_set(s, "thing1", "note", "later");
    world_set(s, "new", "note", "later");
    strata_close(s);
    world_digest("w", late);
    assert_string_not_equal(early, late);
    world_run("rm -f early/.strata/index.db* && cp w/.strata/index.db* early/.strata/");
    check("early", early);
    assert_false(is_private("early"));
    world_rebuilt_digest("early", digest);
    assert_string_equal(digest, early);
    world_digest("w", digest);
    assert_string_equal(digest, late);

    /* The log itself lost its end (an fsck, say) and was written on: same epoch, other records. */
    char id[17];
    world_replica("w", id);
    world_run(
        "f=$(ls w/.strata/log/%s-*/*.jsonl | tail -n 1) && head -n -2 $f >t && cat t >$f && rm t"
        " && rm w/.strata/page",
        id);
    check("w", early);
}

/* Log, page and identity restored in place: the same epoch, so that only the position tells that
 * the index has more than the log, or something else. */
static void test_index_ahead_in_the_same_epoch(void **state)
{
    (void)state;
    char early[33], digest[33];
    world_init("w");
    fill("w");
    world_digest("w", early);
    for (int more = 0; more < 2; more++) {
        world_run("rm -rf saved && cp -r w saved && rm -f saved/.strata/index.db*");
        strata *s = world_open("w", "anna");
        world_set(s, "thing1", "note", "later");
        world_set(s, "new", "note", "later");
        strata_close(s);
        world_digest("w", digest);
        assert_string_not_equal(digest, early);
        world_run("cp -r saved/. w/");
        if (more == 1) {
            /* As many records as the index has, but others. */
            s = world_open("w", "bert");
            world_set(s, "new", "note", "other");
            ok(s, world_write(s, STRATA_UNSET, "new", "note", NULL, NULL));
            world_shows(s, "new", "note", "");
            world_shows(s, "thing1", "note", "bert's");
            strata_close(s);
        } else {
            check("w", early);
        }
        world_digest("w", digest);
        world_rebuilt_digest("w", early);
        assert_string_equal(digest, early);
    }
}

static void test_directory_in_the_way(void **state)
{
    (void)state;
    char digest[33];
    world_init("w");
    fill("w");
    world_digest("w", digest);
    world_run("cd w/.strata && rm -f index.db* && mkdir index.db && touch index.db/x");
    check("w", digest);
    strata *s = world_open("w", "anna");
    strata_written w;
    ok(s, world_write(s, STRATA_SET, "thing1", "note", "mine", &w));
    assert_string_equal(w.replaced.value, "bert's");
    world_shows(s, "thing1", "note", "mine");
    strata_close(s);
}

/* A damaged log is not a damaged index: the message names file and place, nothing is thrown away.
 */
static void test_damaged_log_is_named(void **state)
{
    (void)state;
    world_init("w");
    fill("w");
    char id[17];
    world_replica("w", id);
    world_run("cd w/.strata && rm -f index.db* && f=$(ls log/%s-*/*.jsonl | head -n 1) &&"
              " sed -i '7s/thing/thong/' $f && cat $f >t && cat t >$f && rm t",
              id);
    strata *s = world_open("w", NULL);
    strata_attribute a;
    expect_code(s, strata_fact_get(s, "thing1", "note", 0, &a), STRATA_DAMAGED);
    const char *message = strata_last_error(s)->message;
    if (strstr(message, ".jsonl") == NULL || strstr(message, "record 7") == NULL)
        fail_msg("not clear: %s", message);
    strata_close(s);
    assert_int_equal(access(world_file("w", "log"), F_OK), 0);
}

/* --- held locks
 * -----------------------------------------------------------------------------------
 */

static void hold(enum st_lock_kind kind)
{
    strata *s = world_open("w", "holder");
    if (st_log_take(&s->log, kind, 5000) != ST_OK)
        _exit(1);
}

static void hold_index(void *arg)
{
    (void)arg;
    hold(ST_LOCK_INDEX);
}

static void hold_append(void *arg)
{
    (void)arg;
    hold(ST_LOCK_APPEND);
}

static void test_index_lock_held(void **state)
{
    (void)state;
    char digest[33], rebuilt[33];
    world_init("w");
    fill("w");
    world_digest("w", digest);
    int holder = world_stopped(hold_index, NULL);
    strata *s = world_open("w", "anna");
    world_get(s, "thing1", "note");
    strata_written w;
    ok(s, world_write(s, STRATA_SET, "thing1", "note", "mine", &w));
    assert_string_equal(w.replaced.value, "bert's");
    world_shows(s, "thing1", "note", "mine");
    strata_status st;
    ok(s, strata_status_get(s, &st));
    assert_true(st.index_behind);
    assert_string_not_equal(st.digest, digest);
    memcpy(digest, st.digest, 33);
    strata_expect e = {.value = "mine", .value_size = STRATA_NUL};
    strata_op op = {.kind = STRATA_SET,
                    .entity = "thing1",
                    .attribute = "note",
                    .value = "next",
                    .value_size = STRATA_NUL};
    ok(s, strata_write(s, &op, 1, 0, &e, NULL));
    expect_code(s, strata_write(s, &op, 1, 0, &e, NULL), STRATA_CONFLICT);
    world_continue(holder);
    ok(s, strata_status_get(s, &st));
    assert_false(st.index_behind);
    world_shows(s, "thing1", "note", "next");
    strata_close(s);
    world_digest("w", digest);
    world_rebuilt_digest("w", rebuilt);
    assert_string_equal(digest, rebuilt);
}

/* Nobody has an index yet, and nobody can make one. */
static void test_index_lock_held_without_index(void **state)
{
    (void)state;
    char digest[33];
    world_init("w");
    fill("w");
    world_digest("w", digest);
    world_run("rm -f w/.strata/index.db*");
    int holder = world_stopped(hold_index, NULL);
    check("w", digest);
    world_continue(holder);
    check("w", digest);
    assert_false(is_private("w"));
}

static void test_append_lock_held(void **state)
{
    (void)state;
    world_init("w");
    strata_options o = {.size = sizeof o, .agent = "anna", .wait_ms = 200};
    strata_error error;
    strata *s = world_open("w", "bert");
    world_set(s, "x", "y", "1");
    strata_close(s);
    assert_int_equal(strata_open(world_path("w"), &o, &s, &error), STRATA_OK);
    int holder = world_stopped(hold_append, NULL);
    char process[32];
    snprintf(process, sizeof process, "%d", holder);
    int code = world_write(s, STRATA_SET, "x", "y", "2", NULL);
    expect_code(s, code, STRATA_UNAVAILABLE);
    assert_int_equal(strata_code_exit(code), 6);
    const char *message = strata_last_error(s)->message;
    if (strstr(message, process) == NULL || strstr(message, "test, holder") == NULL)
        fail_msg("does not name the holder: %s", message);
    assert_non_null(strstr(strata_last_error(s)->hint, "nothing was recorded"));
    world_shows(s, "x", "y", "1");
    assert_int_equal(world_records("w", NULL), 1);
    world_continue(holder);
    world_set(s, "x", "y", "3");
    world_shows(s, "x", "y", "3");
    assert_int_equal(world_records("w", NULL), 2);
    strata_close(s);
}

/* A reader without write access that stays open: another process begins a new epoch. */
static void test_reader_follows_into_a_new_epoch(void **state)
{
    (void)state;
    world_init("w");
    strata *s = world_open("w", "anna");
    world_set(s, "x", "y", "1");
    strata_options o = {.size = sizeof o, .read_only = true};
    strata_error error;
    strata *reader;
    assert_int_equal(strata_open(world_path("w"), &o, &reader, &error), STRATA_OK);
    assert_true(strata_is_read_only(reader));
    world_shows(reader, "x", "y", "1");
    assert_int_equal(st_log_renew(&s->log, "doubt"), ST_OK);
    world_set(s, "x", "y", "2");
    world_shows(reader, "x", "y", "2");
    expect_code(reader, world_write(reader, STRATA_SET, "x", "y", "3", NULL), STRATA_READ_ONLY);
    strata_close(reader);
    strata_close(s);
}

/* --- searching -------------------------------------------------------------------------------- */

/* Facts that have the word "service" sixty times each, and a word of their own. */
static void fill_common(strata *s, int from, int to)
{
    char entity[32], value[600];
    for (int i = from; i < to; i++) {
        size_t n = (size_t)snprintf(value, sizeof value, "noted disk%05d", i);
        for (int j = 0; j < 60; j++)
            n += (size_t)snprintf(value + n, sizeof value - n, " service");
        snprintf(entity, sizeof entity, "thing%d", i);
        ok(s, world_write(s, STRATA_SET, entity, "note", value, NULL));
    }
}

/* The bytes that SQLite needs for a search on the way, when the text index is up to date. */
static int64_t bytes_of_search(strata *s, const char *words, size_t *found)
{
    sqlite3_int64 before = 0, now = 0, high = 0;
    for (int i = 0; i < 2; i++) {
        *found = 0;
        assert_int_equal(sqlite3_status64(SQLITE_STATUS_MEMORY_USED, &before, &high, 1), SQLITE_OK);
        ok(s, strata_search(s, words, 11, visit_attribute, found));
        assert_int_equal(sqlite3_status64(SQLITE_STATUS_MEMORY_USED, &now, &high, 1), SQLITE_OK);
    }
    return high - before;
}

/* What is the mere beginning of a word that everything has, or of ever so many words, costs the same in a
 * workspace eight times as large: FTS5 on its own would gather all that match first, here some 240,000 bytes. */
static void test_search_for_a_beginning_is_bounded(void **state)
{
    (void)state;
    static const struct {
        const char *words;
        bool many;
    } cases[] = {{"serv", false}, {"d", true}, {"not serv", false}, {"serv d", true}};
    enum { COUNT = sizeof cases / sizeof cases[0] };
    int64_t small[COUNT];
    size_t found;
    world_init("w");
    strata *s = world_open("w", NULL);
    fill_common(s, 0, 250);
    for (size_t i = 0; i < COUNT; i++)
        small[i] = bytes_of_search(s, cases[i].words, &found);
    world_notices(s, "");
    fill_common(s, 250, 2000);
    for (size_t i = 0; i < COUNT; i++) {
        int64_t bytes = bytes_of_search(s, cases[i].words, &found);
        printf("%s: %lld bytes for 250 facts, %lld for 2,000\n", cases[i].words,
               (long long)small[i], (long long)bytes);
        assert_int_equal(found, 11);
        assert_true(bytes > 0 && bytes < small[i] + 60000);
        assert_int_equal(world_notices(s, "too many words begin"), cases[i].many ? 2 : 0);
    }
    strata_close(s);
}

/* A word is what the text index takes for one; several are needed all. */
static void test_search_for_beginnings(void **state)
{
    (void)state;
    static const struct {
        const char *words;
        size_t found;
    } cases[] = {
        {"serv", 2},         {"SERV", 2},          {"m\303\274l", 1}, {"mul", 1},
        {"api-po", 2},       {"api-pa", 0},        {"po-api", 0},     {"serv mul", 1},
        {"\" serv", 2},      {"serv - api-po", 2}, {"-", 0},          {"\"", 0},
        {"serv nothing", 0}, {"se\"rv", 0},        {"a OR b", 0},     {"services*", 2},
    };
    size_t found;
    world_init("w");
    strata *s = world_open("w", NULL);
    world_set(s, "x", "note", "Services of M\303\274ller: api-port");
    world_set(s, "y", "note", "the services, with an API port");
    world_set(s, "z", "note", "gone services");
    ok(s, world_write(s, STRATA_UNSET, "z", "note", NULL, NULL));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        found = 0;
        ok(s, strata_search(s, cases[i].words, 10, visit_attribute, &found));
        if (found != cases[i].found)
            fail_msg("%s: found %zu times", cases[i].words, found);
        found = 0;
        ok(s, strata_search(s, cases[i].words, 0, visit_attribute, &found));
        if (found != cases[i].found)
            fail_msg("%s without limit: found %zu times", cases[i].words, found);
    }
    strata_close(s);
}

/* --- notices
 * --------------------------------------------------------------------------------------
 */

static void test_torn_tail_is_told_once(void **state)
{
    (void)state;
    char id[17];
    world_init("w");
    strata *s = world_open("w", NULL);
    world_set(s, "x", "y", "1");
    strata_close(s);
    world_replica("w", id);
    world_run("printf '{\"dot\":\"torn' >>$(ls w/.strata/log/%s-*/*.jsonl | tail -n 1)", id);
    s = world_open("w", NULL);
    world_shows(s, "x", "y", "1");
    world_set(s, "x", "y", "2");
    strata_status st;
    ok(s, strata_status_get(s, &st));
    assert_int_equal(st.quarantined, 12);
    assert_int_equal(world_notices(s, "12 bytes"), 1);
    world_set(s, "x", "y", "3");
    assert_int_equal(world_notices(s, ""), 0);
    strata_close(s);
    s = world_open("w", NULL);
    world_set(s, "x", "y", "4");
    assert_int_equal(world_notices(s, ""), 0);
    strata_close(s);
}

static void hold_a_read(void *arg)
{
    (void)arg;
    strata *s = world_open("w", "reader");
    ok(s, st_lib_begin(s));
}

/* Behind a reader that is stopped the WAL grows: who commits often gives that up when the reader is gone. */
static void test_the_wal_gets_small_again(void **state)
{
    (void)state;
    static char value[40000];
    struct stat wal;
    memset(value, 'v', sizeof value - 1);
    world_init("w");
    strata *s = world_open("w", "anna");
    int reader = -1;
    world_set(s, "first", "text", "short");
    for (int i = 0; i < 320; i++) {
        char entity[16];
        snprintf(entity, sizeof entity, "e%d", i);
        if (i == 20)
            reader = world_stopped(hold_a_read, NULL);
        if (i == 300) {
            assert_int_equal(stat(world_file("w", "index.db-wal"), &wal), 0);
            assert_true(wal.st_size > 9000000);
            world_continue(reader);
        }
        world_set(s, entity, "text", value);
        world_shows(s, "first", "text", "short"); /* its index catches up */
    }
    assert_int_equal(stat(world_file("w", "index.db-wal"), &wal), 0);
    assert_true(wal.st_size < 9000000);
    strata_close(s);
}

/* Who comes for the index lock after another who has applied all of it commits nothing that the others would
 * have to read again. */
static void test_what_applies_nothing_is_not_told(void **state)
{
    (void)state;
    world_init("w");
    strata *a = world_open("w", "anna"), *b = world_open("w", "bert");
    world_set(a, "x", "y", "1");
    world_shows(a, "x", "y", "1");
    world_shows(b, "x", "y", "1");
    uint64_t generation = a->index->position.generation;
    assert_int_equal(st_index_catch_up(b->index, 1000), ST_OK);
    world_shows(a, "x", "y", "1");
    assert_int_equal(a->index->position.generation, generation);
    world_set(a, "x", "y", "2");
    assert_int_equal(st_index_catch_up(b->index, 1000), ST_OK);
    world_shows(a, "x", "y", "2");
    assert_int_equal(a->index->position.generation, generation + 1);
    strata_close(a);
    strata_close(b);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_init_makes_index_and_segment),
        TEST(test_damaged_index),
        TEST(test_damage_found_while_reading),
        TEST(test_back_to_the_file),
        TEST(test_the_file_is_not_waited_for),
        TEST(test_index_of_another_version),
        TEST(test_index_ahead_of_its_log),
        TEST(test_index_ahead_in_the_same_epoch),
        TEST(test_directory_in_the_way),
        TEST(test_damaged_log_is_named),
        TEST(test_index_lock_held),
        TEST(test_index_lock_held_without_index),
        TEST(test_append_lock_held),
        TEST(test_reader_follows_into_a_new_epoch),
        TEST(test_search_for_a_beginning_is_bounded),
        TEST(test_search_for_beginnings),
        TEST(test_torn_tail_is_told_once),
        TEST(test_the_wal_gets_small_again),
        TEST(test_what_applies_nothing_is_not_told),
    };
    return cmocka_run_group_tests_name("lib index", tests, NULL, NULL);
}
