/* backend.c - the CPU backend: its table, its one device, opening and closing it. */
#include <fcntl.h>
#include <unistd.h>

#include <cblas.h>
#include <lapacke.h>

#include <omp.h>

#include "backend/cpu/cpu.h"

/* "model name : X" of /proc/cpuinfo; empty where there is none. */
static void read_model_name(char *out, size_t size)
{
    char text[4096]; /* the first processor's lines */
    out[0] = '\0';
    const int file = open("/proc/cpuinfo", O_RDONLY | O_CLOEXEC);
    if (file < 0) { return; }
    const ssize_t length = read(file, text, sizeof text - 1);
    close(file);
    text[length > 0 ? length : 0] = '\0';
    const char *name = strstr(text, "model name"), *colon = name ? strchr(name, ':') : NULL;
    if (!colon) { return; }
    colon += 1 + strspn(colon + 1, " ");
    snprintf(out, size, "%.*s", (int)strcspn(colon, "\n"), colon);
}

static const char *instruction_set(void)
{
    switch (dnnl_get_effective_cpu_isa()) {
    case dnnl_cpu_isa_sse41: return "SSE4.1";
    case dnnl_cpu_isa_avx: return "AVX";
    case dnnl_cpu_isa_avx2: return "AVX2";
    case dnnl_cpu_isa_avx2_vnni: return "AVX2 VNNI";
    case dnnl_cpu_isa_avx512_mic:
    case dnnl_cpu_isa_avx512_mic_4ops:
    case dnnl_cpu_isa_avx512_core: return "AVX-512";
    case dnnl_cpu_isa_avx512_core_vnni: return "AVX-512 VNNI";
    case dnnl_cpu_isa_avx512_core_bf16: return "AVX-512 BF16";
    case dnnl_cpu_isa_avx512_core_amx: return "AVX-512 AMX";
    default: return "no vector instructions known";
    }
}

static int cpu_devices(spade_device_info *devices, int capacity)
{
    if (capacity < 1) { return 1; }
    char model[80];
    read_model_name(model, sizeof model);
    devices[0] = (spade_device_info){.name = "cpu", .threads = omp_get_max_threads()};
    devices[0].memory = spade_machine_memory();
    if (devices[0].memory == UINT64_MAX) { devices[0].memory = 0; }
    snprintf(devices[0].description, sizeof devices[0].description, "%s, %s", model[0] ? model : "processor",
             instruction_set());
    return 1;
}

static void cpu_close(spade_device *device)
{
    if (!device) { return; }
    spade_cpu_device *cpu = spade_cpu_of(device);
    if (cpu->stream) { dnnl_stream_destroy(cpu->stream); }
    if (cpu->engine) { dnnl_engine_destroy(cpu->engine); }
    free(cpu->logged);
    free(cpu);
}

static spade_status cpu_open(spade_context *context, int index, spade_device **out)
{
    *out = NULL;
    if (index != 0) { return spade_fail(context, SPADE_ERROR_DEVICE, "there is one cpu device, not number %d", index); }
    if (context->precision != SPADE_NETWORK_FP32) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "the cpu computes in fp32 only, not in %s",
                          context->precision == SPADE_NETWORK_TF32 ? "tf32" : "bf16");
    }
    spade_cpu_device *cpu = calloc(1, sizeof *cpu);
    if (!cpu) { return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory: the cpu device"); }
    cpu->base = (spade_device){.backend = &spade_backend_cpu, .context = context};
    dnnl_status_t result = dnnl_engine_create(&cpu->engine, dnnl_cpu, 0);
    if (result == dnnl_success) { result = dnnl_stream_create(&cpu->stream, cpu->engine, dnnl_stream_default_flags); }
    if (result != dnnl_success) {
        cpu_close(&cpu->base);
        return spade_fail(context, SPADE_ERROR_DEVICE, "oneDNN does not start on this processor (status %d)",
                          (int)result);
    }
    *out = &cpu->base;
    return SPADE_OK;
}

static spade_status cpu_synchronize(spade_device *device)
{
    (void)device; /* every call has finished when it returns */
    return SPADE_OK;
}

static void cpu_libraries(char *buffer, size_t size)
{
    const dnnl_version_t *dnnl = dnnl_version();
    const char *openblas = openblas_get_config();
    int major, minor, patch;
    LAPACKE_ilaver(&major, &minor, &patch);
    if (strncmp(openblas, "OpenBLAS ", strlen("OpenBLAS ")) == 0) { openblas += strlen("OpenBLAS "); }
    snprintf(buffer, size, "oneDNN %d.%d.%d\nOpenBLAS %s\nLAPACK %d.%d.%d\n", dnnl->major, dnnl->minor, dnnl->patch,
             openblas, major, minor, patch);
}

static const spade_op_entry *const cpu_ops[SPADE_OP_KIND_COUNT] = {
#define ENTRY(kind, name, entry, fits) [kind] = &spade_cpu_##entry##_op,
    SPADE_OPS(ENTRY)
#undef ENTRY
};

static const spade_backend_picture cpu_picture = {
    .augment = spade_cpu_augment,
    .resample = spade_cpu_resample,
    .to_floats = spade_cpu_picture_to_floats,
    .heatmap = spade_cpu_heatmap,
};

const spade_backend spade_backend_cpu = {
    .name = "cpu",
    .host_memory = true,
    .devices = cpu_devices,
    .open = cpu_open,
    .close = cpu_close,
    .alloc = spade_cpu_alloc,
    .free = spade_cpu_free,
    .upload = spade_cpu_copy,
    .download = spade_cpu_copy,
    .copy = spade_cpu_copy,
    .zero = spade_cpu_zero,
    .synchronize = cpu_synchronize,
    .plan = spade_op_plan,
    .destroy = spade_op_destroy,
    .workspace_bytes = spade_op_workspace_bytes,
    .saved_bytes = spade_op_saved_bytes,
    .packed_bytes = spade_op_packed_bytes,
    .pack = spade_op_pack,
    .run = spade_op_run,
    .ops = cpu_ops,
    .axpby = spade_cpu_axpby,
    .magnitude = spade_cpu_magnitude,
    .points = spade_cpu_points,
    .path_products = spade_cpu_path_products,
    .mask_inputs = spade_cpu_mask_inputs,
    .blend_inputs = spade_cpu_blend_inputs,
    .seed = spade_cpu_seed,
    .sum_gradients = spade_cpu_sum_gradients,
    .finish_map = spade_cpu_finish_map,
    .finish_variance = spade_cpu_finish_variance,
    .hessian = &spade_cpu_hessian,
    .solver = &spade_cpu_solver,
    .picture = &cpu_picture,
    .visualize = &spade_cpu_visualize,
    .libraries = cpu_libraries,
};
