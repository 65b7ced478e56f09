/*
 * The Hessians of every layer against PyTorch's, in both precisions; errors relative to sqrt(H_ii H_jj).
 *
 * Behind a squeeze-and-excitation ReLU (layers .fc2) some inputs are nearly dead: H_dd 1e-5 of the mean, differences of
 * activations that cancel. There PyTorch's float32 forward pass itself is up to 1.1e-5 off a float64 one, so the
 * tolerance covers that error and ours, which is as large where convolutions sum in float32 (2.13e-5 together on the
 * emulated device of one processor).
 */
#include "golden.h"

static double tolerance(const char *layer)
{
    size_t length = strlen(layer);
    return length > 4 && strcmp(layer + length - 4, ".fc2") == 0 ? 2.5e-5 : 1e-5;
}

static void check_diagonal(spade_context *context, const char *network, const char *layer,
                           const spade_hessians *hessians, int i, double *worst)
{
    spade_array golden;
    assert_true(golden_array(context, network, "hessian_diag", layer, &golden));
    int64_t k = golden.dims[1];
    double *diagonal = malloc((size_t)k * sizeof *diagonal);
    for (int64_t g = 0; g < golden.dims[0]; g++) {
        assert_int_equal(spade_hessian_diagonal(hessians, i, g, diagonal), SPADE_OK);
        for (int64_t d = 0; d < k; d++) {
            double expected = golden.data[g * k + d];
            if (expected == 0) { assert_true(diagonal[d] == 0); } /* dead inputs are dead exactly */
            if (expected != 0) { *worst = fmax(*worst, fabs(diagonal[d] - expected) / expected); }
        }
    }
    free(diagonal);
    spade_array_clear(&golden);
}

static void check_full(spade_context *context, const char *network, const char *layer, const spade_hessians *hessians,
                       int i, double *worst)
{
    spade_array golden;
    if (!golden_array(context, network, "hessian", layer, &golden)) { return; }
    int64_t k = golden.dims[1];
    double *h = malloc((size_t)(k * k) * sizeof *h);
    for (int64_t g = 0; g < golden.dims[0]; g++) {
        const float *expected = golden.data + g * k * k;
        assert_int_equal(spade_hessian_get(hessians, i, g, h), SPADE_OK);
        for (int64_t r = 0; r < k; r++) {
            for (int64_t c = 0; c < k; c++) {
                double h_rr = expected[r * k + r], h_cc = expected[c * k + c];
                double error = fabs(h[r * k + c] - (double)expected[r * k + c]);
                assert_true(h[r * k + c] == h[c * k + r]);
                if (h_rr * h_cc == 0) { assert_true(h[r * k + c] == 0); }
                if (h_rr * h_cc != 0) { *worst = fmax(*worst, error / sqrt(h_rr * h_cc)); }
            }
        }
    }
    free(h);
    spade_array_clear(&golden);
}

static void check_network(const char *network, spade_precision precision)
{
    spade_context *context = golden_context(2, 0);
    spade_model *model = golden_model(context, network);
    spade_array variants;
    spade_batch *batch = golden_batch(context, 0, &variants);
    int all = spade_model_layer_count(model), count = 0;
    int *layers = malloc((size_t)all * sizeof *layers);
    spade_layer_info info;
    for (int l = 0; l < all; l++) {
        spade_model_layer(model, l, &info);
        if (info.prunable) { layers[count++] = l; }
    }
    spade_hessians *hessians = NULL;
    golden_ok(context, spade_hessian_accumulate(context, model, batch, layers, count, precision, &hessians));
    double largest = 0;
    for (int i = 0; i < count; i++) {
        double worst = 0;
        spade_model_layer(model, layers[i], &info);
        check_diagonal(context, network, info.name, hessians, i, &worst);
        check_full(context, network, info.name, hessians, i, &worst);
        if (worst >= tolerance(info.name)) { fail_msg("%s: %s: off by %.2e", network, info.name, worst); }
        largest = fmax(largest, worst);
    }
    print_message("%s, %s: %d layers, largest error %.1e\n", network, precision == SPADE_FP64 ? "fp64" : "fp32", count,
                  largest);
    spade_hessians_destroy(hessians);
    free(layers);
    spade_batch_destroy(batch);
    spade_array_clear(&variants);
    spade_model_destroy(model);
    spade_context_destroy(context);
}

static void test_hessians_are_pytorchs(void **state)
{
    (void)state;
    for (int i = 0; i < GOLDEN_NETWORKS; i++) {
        check_network(golden_networks[i], SPADE_FP32);
        check_network(golden_networks[i], SPADE_FP64);
    }
}

/* A batch that micro-batches do not divide, one that is smaller than a micro-batch, and requests that cannot be met. */
static void test_batches_of_any_size(void **state)
{
    (void)state;
    spade_context *context = golden_context(2, 0);
    spade_model *model = golden_model(context, "resnet");
    const int layers[2] = {1, 1};
    double *diagonal = malloc(4096 * sizeof *diagonal), sums[3] = {0};
    const int64_t sizes[3] = {3, 11, 48};
    spade_layer_info info;
    spade_model_layer(model, 1, &info);
    for (int i = 0; i < 3; i++) {
        spade_array variants;
        spade_hessians *hessians = NULL;
        spade_batch *batch = golden_batch(context, sizes[i], &variants);
        golden_ok(context, spade_hessian_accumulate(context, model, batch, layers, 1, SPADE_FP32, &hessians));
        assert_int_equal(spade_hessian_diagonal(hessians, 0, 0, diagonal), SPADE_OK);
        for (int64_t d = 0; d < info.columns; d++) { sums[i] += diagonal[d]; }
        assert_int_equal(spade_hessian_diagonal(hessians, 1, 0, diagonal), SPADE_ERROR_ARGUMENT);
        assert_int_equal(spade_hessian_get(hessians, 0, 1, diagonal), SPADE_ERROR_ARGUMENT);
        assert_int_equal(spade_hessian_get(hessians, -1, 0, diagonal), SPADE_ERROR_ARGUMENT);
        assert_null(spade_hessian_form_name(hessians, 1));
        spade_hessians_destroy(hessians);
        assert_int_equal(spade_hessian_accumulate(context, model, batch, layers, 2, SPADE_FP32, &hessians),
                         SPADE_ERROR_ARGUMENT);
        assert_int_equal(spade_hessian_accumulate(context, model, batch, (int[]){99}, 1, SPADE_FP32, &hessians),
                         SPADE_ERROR_ARGUMENT);
        spade_batch_destroy(batch);
        spade_array_clear(&variants);
    }
    /* means over variants of the same picture: alike, not equal */
    assert_true(sums[0] > 0.3 * sums[2] && sums[0] < 3 * sums[2]);
    assert_true(sums[1] > 0.5 * sums[2] && sums[1] < 2 * sums[2]);
    free(diagonal);
    spade_model_destroy(model);
    spade_context_destroy(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hessians_are_pytorchs),
        cmocka_unit_test(test_batches_of_any_size),
    };
    return cmocka_run_group_tests_name("golden Hessians", tests, NULL, NULL);
}
