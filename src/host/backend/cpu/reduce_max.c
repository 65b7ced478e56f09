/*
 * reduce_max.c - the largest number over axes; its gradient, shared among all that are the largest.
 *
 * Walks as reduce.c does. Neighbours along the fastest axis that is kept are taken together; where the fastest axis of the memory
 * is one that is reduced, one result after another.
 */
#include "backend/cpu/cpu.h"
#include "backend/tensor_iterator.h"

enum { RESULTS = 64 }; /* of one task */

/* Neighbours: results that lie `apart` in x, `y_apart` in y. */
typedef struct neighbours {
    int64_t count, apart, y_apart;
} neighbours;

/* best[i] = the largest of x over the reduced axes; NaN if there is one. */
static void find_largest(const spade_reduction *r, neighbours n, const float *x, float *best)
{
    const int last = r->summed.rank - 1;
    const int64_t outer = spade_tensor_iterator_size(&r->summed, last), step = r->summed.strides[0][last];
    for (int64_t i = 0; i < n.count; i++) { best[i] = x[i * n.apart]; }
    for (int64_t o = 0; o < outer; o++) {
        const float *from = x + spade_tensor_iterator_locate(&r->summed, last, 0, o);
        for (int64_t term = 0; term < r->summed.dims[last]; term++) {
            for (int64_t i = 0; i < n.count; i++) {
                const float v = from[term * step + i * n.apart];
                best[i] = v <= best[i] || best[i] != best[i] ? best[i] : v;
            }
        }
    }
}

static void run_neighbours(const spade_reduction *r, neighbours n, const float *x, float *y)
{
    float best[RESULTS];
    find_largest(r, n, x, best);
    for (int64_t i = 0; i < n.count; i++) { y[i * n.y_apart] = best[i]; }
}

static void run_neighbours_backward(const spade_reduction *r, neighbours n, const float *x, const float *y,
                                    const float *dy, float *dx)
{
    const int last = r->summed.rank - 1;
    const int64_t outer = spade_tensor_iterator_size(&r->summed, last), step = r->summed.strides[0][last];
    float equal[RESULTS] = {0}, share[RESULTS];
    for (int64_t o = 0; o < outer; o++) {
        const float *from = x + spade_tensor_iterator_locate(&r->summed, last, 0, o);
        for (int64_t term = 0; term < r->summed.dims[last]; term++) {
            for (int64_t i = 0; i < n.count; i++) { equal[i] += from[term * step + i * n.apart] == y[i * n.y_apart]; }
        }
    }
    for (int64_t i = 0; i < n.count; i++) { share[i] = dy[i * n.y_apart] / equal[i]; }
    for (int64_t o = 0; o < outer; o++) {
        const int64_t at = spade_tensor_iterator_locate(&r->summed, last, 0, o);
        for (int64_t term = 0; term < r->summed.dims[last]; term++) {
            for (int64_t i = 0; i < n.count; i++) {
                const int64_t place = at + term * step + i * n.apart;
                dx[place] = x[place] == y[i * n.y_apart] ? share[i] : 0;
            }
        }
    }
}

static spade_status run_any(const spade_op *op, const spade_op_args *args, bool backward)
{
    const spade_reduction r = spade_reduction_make(&op->desc.a, &op->desc.y);
    const int last = r.kept.rank - 1;
    const int64_t apart = r.kept.strides[0][last], y_apart = r.kept.strides[1][last];
    const bool singly = r.summed.strides[0][r.summed.rank - 1] < apart;
    const int64_t width = r.kept.dims[last], pieces = (width + RESULTS - 1) / RESULTS;
    const int64_t tasks = spade_tensor_iterator_size(&r.kept, last) * pieces;
#pragma omp parallel for num_threads(spade_cpu_threads(op->device)) schedule(static)
    for (int64_t task = 0; task < tasks; task++) {
        const int64_t first = task % pieces * RESULTS, count = width - first < RESULTS ? width - first : RESULTS;
        const int64_t x = spade_tensor_iterator_locate(&r.kept, last, 0, task / pieces) + first * apart;
        const int64_t y = spade_tensor_iterator_locate(&r.kept, last, 1, task / pieces) + first * y_apart;
        const neighbours n = {singly ? 1 : count, apart, y_apart};
        for (int64_t i = 0; i < count; i += n.count) {
            const int64_t x_at = x + i * apart, y_at = y + i * y_apart;
            if (backward) {
                run_neighbours_backward(&r, n, args->a + x_at, args->y + y_at, args->dy + y_at, args->out + x_at);
            } else {
                run_neighbours(&r, n, args->a + x_at, args->out + y_at);
            }
        }
    }
    return SPADE_OK;
}

static spade_status run(spade_op *op, const spade_op_args *args)
{
    return run_any(op, args, false);
}

static spade_status run_backward(spade_op *op, const spade_op_args *args)
{
    return run_any(op, args, true);
}

const spade_op_entry spade_cpu_reduce_max_op = {.run = run};
const spade_op_entry spade_cpu_reduce_max_backward_op = {.run = run_backward};
