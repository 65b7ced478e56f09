/* budget.h - the budget of a test, beside what the open device keeps of it for itself. */
#ifndef SPADE_TEST_BUDGET_H
#define SPADE_TEST_BUDGET_H

#include "backend/backend.h"

/* memory: bytes for the test; 0: as it is. */
static inline void test_set_budget(spade_context *context, uint64_t memory)
{
    if (memory) { context->budget = context->device->own_bytes + memory; }
}

#endif
