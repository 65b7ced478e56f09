/*
 * support.h - what the benchmark programs share: a clock, statistics, arguments, failing, counting operations. They
 * use spade's public headers only. Results go to standard output as JSON, one object a line; bench/run.py makes tables
 * of them.
 */
#ifndef BENCH_SUPPORT_H
#define BENCH_SUPPORT_H

#include <spade/spade.h>

double bench_now(void); /* seconds, monotonic */
/* The median of n numbers; sorts them. */
double bench_median(double *values, int n);
/* A whole number from `least` on, or the program ends with a message that calls it `name`. */
int64_t bench_integer(const char *text, const char *name, int64_t least);
double bench_number(const char *text, const char *name);
/* Memory that ends the program when there is none. Not zeroed; release with free(). */
void *bench_alloc(size_t bytes);
/* Pseudo-random numbers in [0, 1), the same in every run. */
void bench_fill(float *out, int64_t n);

/* End the program with the context's message unless status is SPADE_OK. */
void bench_check(const spade_context *context, spade_status status);
/* "fp32", "tf32" or "bf16", or the program ends with a message. */
spade_network_precision bench_precision(const char *text);
/* device, precision, profile: as spade_context_options; memory: budget in bytes, 0: none */
spade_context *bench_context(const char *device, int threads, uint64_t memory, spade_network_precision precision,
                             bool profile);

/*
 * Operations (a multiply and an add count as two) that a layer's Hessian takes for one image.
 * direct: the definition, half of the symmetric product: positions * K * (K + 1) a group.
 * least: the fewest of three forms; the other two exist for stride 1 and kernels larger than 1x1:
 *   spectral   F (2 C^2 + 2.5 C log2 F) a group with C input channels, F = (H + kh - 1)(W + kw - 1) frequencies: the
 *              products at each frequency and one real transform a plane
 *   lags       2 C^2 H W a lag, lags counted up to their sign: 13 for 3x3
 */
double bench_hessian_direct(const spade_layer_info *layer);
double bench_hessian_least(const spade_layer_info *layer);

#endif
