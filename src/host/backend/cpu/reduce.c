/*
 * reduce.c - sums and means over axes; sums over those that were broadcast are the backward of broadcasting.
 *
 * Walks over axes ordered as they lie in memory, with neighbours merged where both shapes allow it (tensor_iterator.h).
 */
#include "backend/cpu/cpu.h"
#include "backend/tensor_iterator.h"

enum { SUMS = 64 }; /* sums of one task: neighbours along the fastest axis that is kept */

/* sums[i] += a over the summed axes, each sum in the order of the memory. Which loop is inside is a matter of
 * locality only. */
static void sum_neighbours(const spade_reduction *r, const float *a, int64_t count, double *sums)
{
    int last = r->summed.rank - 1;
    int64_t step = r->summed.strides[0][last], apart = r->kept.strides[0][r->kept.rank - 1];
    int64_t outer = spade_tensor_iterator_size(&r->summed, last), run = r->summed.dims[last];
    for (int64_t o = 0; o < outer; o++) {
        const float *from = a + spade_tensor_iterator_locate(&r->summed, last, 0, o);
        if (step < apart) {
            for (int64_t i = 0; i < count; i++) {
                double sum = sums[i];
                for (int64_t term = 0; term < run; term++) { sum += from[i * apart + term * step]; }
                sums[i] = sum;
            }
        } else {
            for (int64_t term = 0; term < run; term++) {
                for (int64_t i = 0; i < count; i++) { sums[i] += from[term * step + i * apart]; }
            }
        }
    }
}

static spade_status run(spade_op *op, const spade_op_args *args)
{
    const spade_reduction r = spade_reduction_make(&op->desc.a, &op->desc.y);
    const int last = r.kept.rank - 1;
    const int64_t width = r.kept.dims[last], pieces = (width + SUMS - 1) / SUMS;
    const int64_t tasks = spade_tensor_iterator_size(&r.kept, last) * pieces;
    const double divisor = op->desc.divisor;
#pragma omp parallel for num_threads(spade_cpu_threads(op->device)) schedule(static)
    for (int64_t task = 0; task < tasks; task++) {
        int64_t first = task % pieces * SUMS, count = width - first < SUMS ? width - first : SUMS;
        double sums[SUMS] = {0};
        const float *a =
            args->a + spade_tensor_iterator_locate(&r.kept, last, 0, task / pieces) + first * r.kept.strides[0][last];
        float *y =
            args->out + spade_tensor_iterator_locate(&r.kept, last, 1, task / pieces) + first * r.kept.strides[1][last];
        sum_neighbours(&r, a, count, sums);
        for (int64_t i = 0; i < count; i++) {
            y[i * r.kept.strides[1][last]] = (float)(divisor == 0 ? sums[i] : sums[i] / divisor);
        }
    }
    return SPADE_OK;
}

const spade_op_entry spade_cpu_reduce_sum_op = {.run = run};
