/* test_ledger.c - who has which shard: leases, shards that kill their worker, parents that are gone or live, files that are no ledgers. */
#include <signal.h>
#include <sys/wait.h>

#include "base/base.h"
#include "store/database.h"
#include "store/ledger.h"
#include "support/command.h"

typedef struct fixture {
    spade_context *context;
    char *folder, path[300];
} fixture;

static int setup(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    assert_int_equal(spade_context_create(NULL, &f->context), SPADE_OK);
    f->folder = folder_make();
    snprintf(f->path, sizeof f->path, "%s/ledger.sqlite", f->folder);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    folder_remove(f->folder);
    spade_context_destroy(f->context);
    free(f);
    return 0;
}

static spade_ledger *open_well(fixture *f, const char *identity)
{
    spade_ledger *ledger;
    if (spade_ledger_open(f->context, f->path, identity, &ledger) != SPADE_OK) {
        fail_msg("%s", spade_message(f->context));
    }
    return ledger;
}

static void expect_lease(spade_ledger *ledger, int64_t shard, bool expected)
{
    bool taken;
    assert_int_equal(spade_ledger_lease(ledger, shard, 1000, &taken), SPADE_OK);
    assert_int_equal(taken, expected);
}

static void expect_tries(spade_ledger *ledger, int64_t shard, int64_t row, int expected)
{
    int tries;
    assert_int_equal(spade_ledger_killed(ledger, shard, row, SIGKILL, &tries), SPADE_OK);
    assert_int_equal(tries, expected);
}

static void test_leases(void **state)
{
    fixture *f = *state;
    spade_ledger *ledger = open_well(f, "a");
    expect_lease(ledger, 0, true);
    expect_lease(ledger, 0, false); /* somebody has it */
    expect_lease(ledger, 1, true);
    assert_int_equal(spade_ledger_release(ledger, 0), SPADE_OK);
    expect_lease(ledger, 0, true);
    assert_int_equal(spade_ledger_done(ledger, 0), SPADE_OK);
    expect_lease(ledger, 0, true); /* the store lost it */
    expect_lease(ledger, 0, false);
    spade_ledger_close(ledger);
    ledger = open_well(f, "a"); /* the parent is gone: its leases are */
    expect_lease(ledger, 0, true);
    expect_lease(ledger, 1, true);
    spade_ledger_close(ledger);
    ledger = open_well(f, "b"); /* another store under the same name */
    expect_lease(ledger, 0, true);
    spade_ledger_close(ledger);
}

/* Three times at one picture; what gets on in between is another matter. */
static void test_killers(void **state)
{
    fixture *f = *state;
    spade_ledger *ledger = open_well(f, "a");
    expect_lease(ledger, 3, true);
    expect_tries(ledger, 3, 70, 1);
    expect_lease(ledger, 3, true);
    expect_tries(ledger, 3, 70, 2);
    expect_lease(ledger, 3, true);
    expect_tries(ledger, 3, 71, 1);
    expect_lease(ledger, 3, true);
    expect_tries(ledger, 3, 71, 2);
    spade_ledger_close(ledger);
    ledger = open_well(f, "a"); /* counts outlive the parent */
    expect_lease(ledger, 3, true);
    expect_tries(ledger, 3, 71, SPADE_LEDGER_TRIES);
    expect_lease(ledger, 3, false);
    assert_int_equal(spade_ledger_release(ledger, 3), SPADE_OK);
    expect_lease(ledger, 3, false);
    assert_int_equal(spade_ledger_retry(ledger, 3), SPADE_OK);
    expect_lease(ledger, 3, true);
    expect_tries(ledger, 3, 71, 1);
    spade_ledger_close(ledger);
}

/* A parent in another process; it lives until its end of the pipe is closed, or it is killed. */
static pid_t start_parent(fixture *f, int *input)
{
    int from[2], to[2];
    char byte;
    assert_int_equal(pipe(from), 0);
    assert_int_equal(pipe(to), 0);
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        spade_ledger *ledger;
        bool taken;
        close(from[1]);
        close(to[0]);
        const bool leads = spade_ledger_open(f->context, f->path, "a", &ledger) == SPADE_OK &&
                           spade_ledger_lease(ledger, 5, 1000, &taken) == SPADE_OK && taken;
        (void)!write(to[1], leads ? "y" : "n", 1);
        (void)!read(from[0], &byte, 1);
        _exit(0);
    }
    close(from[0]);
    close(to[1]);
    assert_int_equal(read(to[0], &byte, 1), 1);
    assert_int_equal(byte, 'y');
    close(to[0]);
    *input = from[1];
    return pid;
}

static void test_parents(void **state)
{
    fixture *f = *state;
    spade_ledger *ledger;
    char text[64];
    int input, ended;
    const pid_t pid = start_parent(f, &input);
    assert_int_equal(spade_ledger_open(f->context, f->path, "a", &ledger), SPADE_ERROR_IO);
    snprintf(text, sizeof text, "(process %lld)", (long long)pid);
    assert_non_null(strstr(spade_message(f->context), text));
    assert_null(ledger);
    assert_int_equal(kill(pid, SIGKILL), 0);
    /* It is not waited for yet: one that has ended leads nobody. */
    spade_process process;
    do {
        spade_process_describe(pid, &process);
    } while (process.start >= 0);
    ledger = open_well(f, "a");
    expect_lease(ledger, 5, true);
    spade_ledger_close(ledger);
    assert_int_equal(waitpid(pid, &ended, 0), pid);
    close(input);
}

static void test_processes(void **state)
{
    (void)state;
    spade_process self, other;
    spade_process_describe(getpid(), &self);
    assert_true(self.start > 0 && *self.boot);
    assert_true(spade_process_lives(&self));
    other = self;
    other.start++; /* its number was given again */
    assert_false(spade_process_lives(&other));
    other = self;
    other.boot[0] ^= 1; /* before the machine was started again */
    assert_false(spade_process_lives(&other));
    spade_process_describe(0, &other);
    assert_false(spade_process_lives(&other));
}

static void expect_refused(fixture *f, const char *says)
{
    spade_ledger *ledger;
    assert_int_equal(spade_ledger_open(f->context, f->path, "a", &ledger), SPADE_ERROR_INPUT);
    if (!strstr(spade_message(f->context), says)) { fail_msg("%s", spade_message(f->context)); }
    assert_null(ledger);
}

static void test_other_files(void **state)
{
    fixture *f = *state;
    sqlite3 *database;
    spade_ledger *ledger;
    char text[5000];
    memset(text, 'x', sizeof text);
    file_write(f->path, text, sizeof text);
    expect_refused(f, "not a SQLite file");
    assert_int_equal(unlink(f->path), 0);
    assert_int_equal(spade_database_open(f->context, f->path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, &database),
                     SPADE_OK);
    assert_int_equal(spade_database_run(f->context, database, "CREATE TABLE shard(x)"), SPADE_OK);
    spade_database_close(database);
    expect_refused(f, "no ledger");
    snprintf(f->path, sizeof f->path, "%s/no/ledger", f->folder);
    assert_int_equal(spade_ledger_open(f->context, f->path, "a", &ledger), SPADE_ERROR_IO);
    assert_non_null(strstr(spade_message(f->context), f->path));
}

static void test_path(void **state)
{
    fixture *f = *state;
    char *path;
    assert_int_equal(spade_ledger_path(f->context, f->folder, NULL, 0, 1, &path), SPADE_OK);
    assert_string_equal(path, f->path);
    free(path);
    assert_int_equal(spade_ledger_path(f->context, f->folder, "mine", 0, 2, &path), SPADE_OK);
    assert_string_equal(path, "mine");
    free(path);
    assert_int_equal(spade_ledger_path(f->context, f->folder, NULL, 1, 2, &path), SPADE_OK);
    assert_non_null(strstr(path, "/ledger-1of2.sqlite"));
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_leases, setup, teardown),
        cmocka_unit_test_setup_teardown(test_killers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_parents, setup, teardown),
        cmocka_unit_test(test_processes),
        cmocka_unit_test_setup_teardown(test_other_files, setup, teardown),
        cmocka_unit_test_setup_teardown(test_path, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
