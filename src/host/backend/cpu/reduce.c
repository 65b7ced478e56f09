/*
 * reduce.c - sums over the axes that were broadcast: the backward of broadcasting.
 *
 * Walks over axes ordered as they lie in memory, with neighbours merged where both shapes allow it (space.h).
 */
#include "backend/cpu/cpu.h"
#include "backend/tensor_iterator.h"

enum { LANES = 64 }; /* sums of one task: neighbours along the fastest axis that is kept */

/* sums[lane] += a over the summed axes, each lane in the order of the memory. Which loop is inside is a matter of
 * locality only. */
static void sum_lanes(const spade_reduction *r, const float *a, int64_t lanes, double *sums)
{
    int last = r->summed.rank - 1;
    int64_t step = r->summed.strides[0][last], apart = r->kept.strides[0][r->kept.rank - 1];
    int64_t outer = spade_tensor_iterator_size(&r->summed, last), run = r->summed.dims[last];
    for (int64_t o = 0; o < outer; o++) {
        const float *from = a + spade_tensor_iterator_locate(&r->summed, last, 0, o);
        if (step < apart) {
            for (int64_t lane = 0; lane < lanes; lane++) {
                double sum = sums[lane];
                for (int64_t i = 0; i < run; i++) { sum += from[lane * apart + i * step]; }
                sums[lane] = sum;
            }
        } else {
            for (int64_t i = 0; i < run; i++) {
                for (int64_t lane = 0; lane < lanes; lane++) { sums[lane] += from[i * step + lane * apart]; }
            }
        }
    }
}

static spade_status run(spade_op *op, const spade_op_args *args)
{
    const spade_reduction r = spade_reduction_make(&op->desc.a, &op->desc.y);
    const int last = r.kept.rank - 1;
    const int64_t width = r.kept.dims[last], pieces = (width + LANES - 1) / LANES;
    const int64_t tasks = spade_tensor_iterator_size(&r.kept, last) * pieces;
#pragma omp parallel for num_threads(spade_cpu_threads(op->device)) schedule(static)
    for (int64_t task = 0; task < tasks; task++) {
        int64_t first = task % pieces * LANES, lanes = width - first < LANES ? width - first : LANES;
        double sums[LANES] = {0};
        const float *a =
            args->a + spade_tensor_iterator_locate(&r.kept, last, 0, task / pieces) + first * r.kept.strides[0][last];
        float *y =
            args->out + spade_tensor_iterator_locate(&r.kept, last, 1, task / pieces) + first * r.kept.strides[1][last];
        sum_lanes(&r, a, lanes, sums);
        for (int64_t lane = 0; lane < lanes; lane++) { y[lane * r.kept.strides[1][last]] = (float)sums[lane]; }
    }
    return SPADE_OK;
}

const spade_op_entry spade_cpu_reduce_sum_op = {.run = run};
