/*
 * ledger.h - which worker of this machine works on which shard of a store, and how often a shard has killed its worker: an SQLite
 * file (WAL, synchronous FULL) that only the parent of the workers writes.
 *
 * What is done the store says itself (SHARD.done.json): without its ledger a store has lost nothing but counts. SQLite's locks and
 * its shared memory need a disk of this machine, so the ledger is never on a network's. Who is alive is told by process number,
 * time of its start and boot of the system; no clock is asked.
 */
#ifndef SPADE_STORE_LEDGER_H
#define SPADE_STORE_LEDGER_H

#include "base/base.h"

typedef struct spade_ledger spade_ledger;

/* A process, told from a later one of the same number. */
typedef struct spade_process {
    int64_t pid;
    int64_t start; /* ticks after the boot; -1: it does not run */
    char boot[64]; /* of the system; "": nobody says */
} spade_process;
void spade_process_describe(int64_t pid, spade_process *out);
/* Does it run still? Not one that has ended and waits for its parent. */
bool spade_process_lives(const spade_process *process);

/* A shard kills its worker so often at the same picture, and is set aside. */
enum { SPADE_LEDGER_TRIES = 3 };

/* Where the ledger of a store is, malloc'ed: `given`, else STORE/ledger.sqlite, else, where the store is on a network's disk, in
 * $XDG_STATE_HOME/spade or ~/.local/state/spade; of share i of n, above 1, ledger-iofn.sqlite, so that several of one machine are not
 * in each other's way. SPADE_ERROR_INPUT: that is a network's disk, too. */
spade_status spade_ledger_path(spade_context *context, const char *store, const char *given, int64_t share,
                               int64_t shares, char **out);

/*
 * Open the ledger, or make it; this process is the parent of the workers from now on. identity: of the store; shards that another
 * store's ledger of the same name knows are forgotten. Shards that a parent who is gone had leased are free again. SPADE_ERROR_IO:
 * another parent lives; the message has its process number.
 */
spade_status spade_ledger_open(spade_context *context, const char *path, const char *identity, spade_ledger **out);
/* The parent leaves. NULL is fine. */
void spade_ledger_close(spade_ledger *ledger);

/* The worker has the shard from now on, which the store says is to be done. *taken false: another one has it, or it is set aside. */
spade_status spade_ledger_lease(spade_ledger *ledger, int64_t shard, int64_t pid, bool *taken);
/* It is done (in the store, before this); counts are forgotten. */
spade_status spade_ledger_done(spade_ledger *ledger, int64_t shard);
/* The worker gives it back unfinished, or is gone through no fault of the shard's. */
spade_status spade_ledger_release(spade_ledger *ledger, int64_t shard);
/* A signal ended the worker while it was at the row. *tries: how often at this row by now; from SPADE_LEDGER_TRIES on the shard is
 * set aside, else it is free again. */
spade_status spade_ledger_killed(spade_ledger *ledger, int64_t shard, int64_t row, int signal, int *tries);
/* One that was set aside is free again. */
spade_status spade_ledger_retry(spade_ledger *ledger, int64_t shard);

#endif
