/*
 * annotate_workers.h - annotate in several processes of one machine. Private to workload/.
 *
 * The parent forks before anything of the engine is started, and computes nothing itself. It hands out shards over a socket, a line for
 * each message, and notes in the ledger who has which. It is told nothing that the store does not say as well: whoever dies, whenever,
 * leaves whole shards and part files.
 *
 *   worker: N             the next shard, please
 *           D SHARD       it is in the store
 *           K SHARD DONE FAILED  it was taken up, with so many pictures in its part file
 *           B ROW         it is begun, also for those that are made with it
 *           R ROW FAILED CHANGED FELL  a row is in its part file, whose trace decides differently, or keeps less than half
 *                         of the score; J JSON  its record, where the parent wants it
 *           F TEXT        a picture could not be used
 *           W LEVEL TEXT  for the log
 *           E STATUS TEXT the run failed
 *   parent: S SHARD       -1: there is none
 *           T             stop after the picture at hand
 */
#ifndef SPADE_WORKLOAD_ANNOTATE_WORKERS_H
#define SPADE_WORKLOAD_ANNOTATE_WORKERS_H

#include "workload/workload.h"

struct spade_worker {
    const spade_annotate_request *request;
    int socket; /* to the parent */
    bool results;
    bool (*stop)(void *user); /* what stops this process alone; NULL: nothing */
    void *user;
    bool stopped, lost; /* the parent said so; there is no parent any more */
    FILE *in;
};

#endif
