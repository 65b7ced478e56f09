/*
 * test_engines.c - the search for engines on the real cuDNN, without a GPU: cuDNN 9.8 and later plan for a device that
 * is described to them ("deviceless" compilation, CUDNN_ATTR_*_DEVICEPROP), and answer with the graphs, engines, notes
 * and workspaces of that GPU. What the stand-in only imagines is asked of the library itself here: are the descriptors
 * accepted, is there an engine for every shape, and is it one that the precision allows.
 *
 * The search hands cuDNN a handle of an open GPU; the linker has cudnnBackendSetAttribute() replaced by a function that
 * hands it the described device instead. Nothing is executed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "backend/check.h"
#include "backend/cuda/dnn/dnn.h"
#include "support/cases.h"

/* ---- the described device */

static cudnnBackendDescriptor_t described;

cudnnStatus_t __real_cudnnBackendSetAttribute(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
                                              cudnnBackendAttributeType_t type, int64_t count, const void *elements);
cudnnStatus_t __wrap_cudnnBackendSetAttribute(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
                                              cudnnBackendAttributeType_t type, int64_t count, const void *elements);

static cudnnStatus_t set_device(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name)
{
    return __real_cudnnBackendSetAttribute(descriptor, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &described);
}

cudnnStatus_t __wrap_cudnnBackendSetAttribute(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
                                              cudnnBackendAttributeType_t type, int64_t count, const void *elements)
{
    cudnnStatus_t result = CUDNN_STATUS_SUCCESS;
    if (name == CUDNN_ATTR_OPERATIONGRAPH_HANDLE) { return CUDNN_STATUS_SUCCESS; }
    if (name == CUDNN_ATTR_EXECUTION_PLAN_HANDLE) {
        return set_device(descriptor, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP);
    }
    if (name == CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH) {
        result = set_device(descriptor, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP);
    } else if (name == CUDNN_ATTR_ENGINE_OPERATION_GRAPH) {
        result = set_device(descriptor, CUDNN_ATTR_ENGINE_DEVICEPROP);
    }
    if (result != CUDNN_STATUS_SUCCESS) { return result; }
    return __real_cudnnBackendSetAttribute(descriptor, name, type, count, elements);
}

typedef struct gpu {
    const char *name;
    int version, processors, shared; /* compute capability * 100, multiprocessors, most shared memory of a block */
    int l2;                          /* bytes */
    int64_t memory;
    int clock, memory_clock; /* kHz */
} gpu;

static const gpu gpus[] = {
    {"NVIDIA A100-SXM4-80GB", 800, 108, 166912, 41943040, 85899345920, 1410000, 1593000},
    {"NVIDIA H100 80GB HBM3", 900, 132, 232448, 52428800, 85520809984, 1980000, 2619000},
};
enum { GPU_COUNT = sizeof gpus / sizeof *gpus };

/* As cuDNN itself writes a device down. false: this cuDNN does not take it. */
static bool describe(const gpu *g)
{
    char text[2048];
    int length =
        snprintf(text, sizeof text,
                 "{\"deviceName\": \"%s\", \"cudaDeviceId\": 0, \"deviceVer\": %d, \"driverVer\": 13000, "
                 "\"multiProcessorCount\": %d, \"totalGlobalMem\": %lld, \"l2CacheSize\": %d, \"smClockRateKHz\": %d, "
                 "\"memClockRateKHz\": %d, \"maxSharedMemoryPerBlock\": 49152, \"maxSharedMemoryPerBlockOptin\": %d, "
                 "\"reservedSharedMemoryPerBlock\": 1024, \"regsPerBlock\": 65536, \"maxRegistersPerSM\": 65536, "
                 "\"maxGridSize\": [2147483647, 65535, 65535], \"maxBlockSize\": [1024, 1024, 64], \"warpSize\": 32, "
                 "\"maxCtasPerSM\": 32, \"maxThreadsPerBlock\": 1024, \"maxThreadsPerSM\": 2048, \"pciDeviceId\": 0, "
                 "\"isTccDriver\": 0, \"supportCoopLaunch\": 1}",
                 g->name, g->version, g->processors, (long long)g->memory, g->l2, g->clock, g->memory_clock, g->shared);
    if (cudnnBackendCreateDescriptor(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR, &described) != CUDNN_STATUS_SUCCESS) {
        return false;
    }
    if (__real_cudnnBackendSetAttribute(described, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR, length,
                                        text) == CUDNN_STATUS_SUCCESS &&
        cudnnBackendFinalize(described) == CUDNN_STATUS_SUCCESS) {
        return true;
    }
    cudnnBackendDestroyDescriptor(described);
    return false;
}

/* ---- what is found */

typedef struct found {
    spade_dnn_candidate candidate; /* without its descriptors */
    cudnnBackendNumericalNote_t notes[CUDNN_NUMERICAL_NOTE_TYPE_COUNT];
    int64_t note_count;
} found;

static bool has(const found *f, cudnnBackendNumericalNote_t note)
{
    for (int64_t i = 0; i < f->note_count; i++) {
        if (f->notes[i] == note) { return true; }
    }
    return false;
}

static void read_notes(cudnnBackendDescriptor_t config, found *f)
{
    cudnnBackendDescriptor_t engine;
    int64_t count;
    assert_int_equal(cudnnBackendCreateDescriptor(CUDNN_BACKEND_ENGINE_DESCRIPTOR, &engine), CUDNN_STATUS_SUCCESS);
    assert_int_equal(cudnnBackendGetAttribute(config, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1,
                                              &count, &engine),
                     CUDNN_STATUS_SUCCESS);
    assert_int_equal(cudnnBackendGetAttribute(engine, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE,
                                              CUDNN_NUMERICAL_NOTE_TYPE_COUNT, &f->note_count, f->notes),
                     CUDNN_STATUS_SUCCESS);
    cudnnBackendDestroyDescriptor(engine);
}

/* The first candidate; fails where there is none, or one that the precision forbids. */
static found search_one(spade_network_precision precision, const spade_op_desc *desc)
{
    static const cudnnBackendNumericalNote_t never[] = {
        CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS, CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION,
        CUDNN_NUMERICAL_NOTE_FFT, CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC, CUDNN_NUMERICAL_NOTE_WINOGRAD};
    spade_context context = {.precision = precision};
    spade_cuda_device device = {.base = {.context = &context}};
    spade_dnn_search search;
    char text[256];
    spade_op_describe(desc, text, sizeof text);
    spade_dnn_search_begin(&search, &device, desc);
    if (spade_dnn_search_run(&search, 1) != SPADE_OK) { fail_msg("%s", context.message); }
    found f = {.candidate = search.found[0]};
    if (f.candidate.variant.product) { /* no engine */
        assert_int_equal(precision, SPADE_NETWORK_FP32);
        spade_dnn_search_end(&search);
        return f;
    }
    read_notes(f.candidate.config, &f);
    for (size_t i = 0; i < sizeof never / sizeof *never; i++) {
        if (has(&f, never[i])) { fail_msg("%s: engine %d", text, (int)f.candidate.engine); }
    }
    if (precision == SPADE_NETWORK_FP32) { assert_false(has(&f, CUDNN_NUMERICAL_NOTE_TENSOR_CORE)); }
    if (precision != SPADE_NETWORK_BF16) { assert_false(f.candidate.variant.half); }
    spade_dnn_search_end(&search);
    return f;
}

static void test_every_shape(void **state)
{
    (void)state;
    for (int k = 0; k < 2; k++) { /* forward, backward */
        for (int i = 0; i < 60; i++) {
            random_stream random = {.key = (uint32_t)(case_kinds[k].kind * 100003 + i)}; /* as in test_ops.c */
            spade_op_desc desc = case_kinds[k].draw(&random, case_kinds[k].kind);
            for (int precision = 0; precision <= SPADE_NETWORK_BF16; precision++) {
                (void)search_one((spade_network_precision)precision, &desc);
            }
        }
    }
}

/* Layers of ResNet-50 in a micro-batch of 32: channels, size, outputs, kernel, stride. */
static const int64_t layers[][5] = {{3, 224, 64, 7, 2},   {64, 56, 64, 3, 1},   {64, 56, 256, 1, 1},
                                    {256, 56, 64, 1, 1},  {128, 56, 128, 3, 2}, {256, 56, 512, 1, 2},
                                    {256, 14, 256, 3, 1}, {512, 7, 512, 3, 1},  {512, 7, 2048, 1, 1}};

static void test_layers(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++) {
        const int64_t *l = layers[i];
        int64_t pad = l[3] / 2, out = (l[1] + 2 * pad - l[3]) / l[4] + 1;
        spade_op_desc desc = {.kind = SPADE_OP_CONVOLUTION,
                              .a = {4, {32, l[0], l[1], l[1]}, SPADE_CHANNELS_LAST},
                              .y = {4, {32, l[2], out, out}, SPADE_CHANNELS_LAST},
                              .window = {{l[3], l[3]}, {l[4], l[4]}, {1, 1}, {pad, pad, pad, pad}},
                              .groups = 1,
                              .relu = true};
        for (int backward = 0; backward < 2; backward++) {
            if (backward) { desc.kind = SPADE_OP_CONVOLUTION_BACKWARD; }
            for (int precision = 0; precision <= SPADE_NETWORK_BF16; precision++) {
                char text[256];
                found f = search_one((spade_network_precision)precision, &desc);
                printf("%-62s %s engine %2d%s%s%s, workspace %.1f MB\n", spade_op_describe(&desc, text, sizeof text),
                       spade_dnn_precision_name((spade_network_precision)precision), (int)f.candidate.engine,
                       f.candidate.variant.fused ? ", fused" : "", f.candidate.variant.half ? ", bfloat16" : "",
                       has(&f, CUDNN_NUMERICAL_NOTE_TENSOR_CORE) ? ", tensor cores" : "",
                       (double)f.candidate.scratch_bytes / 1e6);
                /* Lower precisions are for the tensor cores. */
                assert_true((precision > 0) == has(&f, CUDNN_NUMERICAL_NOTE_TENSOR_CORE));
                assert_true(f.candidate.variant.half == (precision == SPADE_NETWORK_BF16));
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_shape), cmocka_unit_test(test_layers)};
    int failed = 0;
    for (int i = 0; i < GPU_COUNT; i++) {
        if (!describe(&gpus[i])) {
            printf("skipped: cuDNN %zu takes no description of a device like this\n", cudnnGetVersion());
            return 77;
        }
        printf("cuDNN %zu, %s\n", cudnnGetVersion(), gpus[i].name);
        failed += cmocka_run_group_tests(tests, NULL, NULL);
        cudnnBackendDestroyDescriptor(described);
    }
    return failed;
}
