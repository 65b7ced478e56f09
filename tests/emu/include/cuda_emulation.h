/*
 * cuda_emulation.h - CUDA kernels on the processor, one fiber a thread: shared memory, barriers, shuffles, atomics,
 * cooperative grids. It finds missing and divergent barriers (a block in which nobody can go on) and, as everything is
 * plain memory, lets AddressSanitizer see every access. Numbers follow the C compiler's rules, not a GPU's.
 *
 * Blocks of an ordinary launch run one after the other. Blocks of a cooperative launch run in turns; their __shared__
 * variables would be one and the same, so cooperative kernels use dynamic shared memory only.
 */
#ifndef CUDA_EMULATION_H
#define CUDA_EMULATION_H

#include <setjmp.h>
#include <ucontext.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <vector>

#include "standin.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

#define __global__ static
#define __device__ static
#define __host__
#define __forceinline__ inline
#define __align__(n) alignas(n)
#define __launch_bounds__(...)
#define __grid_constant__
#define __noinline__ __attribute__((noinline))
#define __restrict__ __restrict
#define __shared__ static thread_local

struct dim3 {
    unsigned x, y, z;
    dim3(unsigned a = 1, unsigned b = 1, unsigned c = 1) : x(a), y(b), z(c)
    {
    }
};
struct float2 {
    float x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(16) double2 {
    double x, y;
};
/* Rounded once each: the compiler's contraction is off. */
static inline float __fmul_rn(float a, float b)
{
    return a * b;
}
static inline float __fadd_rn(float a, float b)
{
    return a + b;
}

namespace emulation
{
enum { STACK = 64 << 10, WARP = 32 };

struct warp {
    uint64_t slot[WARP];
    uint64_t vote;
    unsigned arrived, live;
    uint64_t generation;
};

struct block {
    dim3 index;
    std::vector<warp> warps;
    unsigned live, arrived;
    uint64_t generation;
    std::vector<unsigned char> shared; /* dynamic */
};

struct fiber {
    ucontext_t context; /* how it starts; under AddressSanitizer also how it goes on */
    jmp_buf place;      /* where it waits: a jump needs no system call */
    bool started;
    std::unique_ptr<char[]> stack;
    bool done;
    dim3 thread;
    unsigned linear; /* in its block */
    block *home;
    void *fake_stack; /* AddressSanitizer's */
};

/* The launch that this host thread runs. */
struct grid {
    std::vector<fiber> fibers;
    std::vector<block> blocks; /* that run together */
    ucontext_t scheduler;
    jmp_buf scheduler_place;
    fiber *current;
    unsigned live_blocks, arrived; /* grid barrier */
    uint64_t generation, progress;
    bool apart; /* no fibers: threads as plain loops */
    std::function<void()> body;
    dim3 block_dim, grid_dim;
    dim3 plain_thread, plain_block;
    void *scheduler_fake_stack;
    const void *scheduler_stack;
    size_t scheduler_size;
};

inline grid &state()
{
    static thread_local grid g;
    return g;
}

inline void die(const char *what)
{
    grid &g = state();
    const dim3 &b = g.apart ? g.plain_block : g.current->home->index;
    std::fprintf(stderr, "cuda emulation: %s (block %u, %u, %u)\n", what, b.x, b.y, b.z);
    std::abort();
}

inline void switch_to_scheduler(bool for_good)
{
    grid &g = state();
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(for_good ? nullptr : &g.current->fake_stack, g.scheduler_stack, g.scheduler_size);
    swapcontext(&g.current->context, &g.scheduler);
    __sanitizer_finish_switch_fiber(g.current->fake_stack, nullptr, nullptr);
#else
    (void)for_good;
    if (_setjmp(g.current->place) == 0) { _longjmp(g.scheduler_place, 1); }
#endif
}

inline void switch_to(fiber &f)
{
    grid &g = state();
    g.current = &f;
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(&g.scheduler_fake_stack, f.stack.get(), STACK);
    swapcontext(&g.scheduler, &f.context);
    __sanitizer_finish_switch_fiber(g.scheduler_fake_stack, nullptr, nullptr);
#else
    if (_setjmp(g.scheduler_place) != 0) { return; }
    if (f.started) { _longjmp(f.place, 1); }
    f.started = true;
    setcontext(&f.context);
#endif
}

/* Wait until `expected` fibers have arrived; the last one lets all go on. */
inline void meet(unsigned &arrived, unsigned expected, uint64_t &generation)
{
    grid &g = state();
    uint64_t mine = generation;
    if (++arrived == expected) {
        arrived = 0;
        generation++;
        g.progress++;
        return;
    }
    while (generation == mine) { switch_to_scheduler(false); }
}

inline void leave(unsigned &arrived, unsigned expected, uint64_t &generation)
{
    if (expected && arrived == expected) {
        arrived = 0;
        generation++;
        state().progress++;
    }
}

inline block &here()
{
    grid &g = state();
    if (g.apart) { die("threads meet in a kernel that was started by SPADE_LAUNCH_INDEPENDENT"); }
    return *g.current->home;
}
inline warp &this_warp()
{
    block &b = here();
    return b.warps[state().current->linear / WARP];
}
inline unsigned lane()
{
    return state().current->linear % WARP;
}
inline void block_barrier()
{
    block &b = here();
    meet(b.arrived, b.live, b.generation);
}
inline void warp_barrier()
{
    warp &w = this_warp();
    meet(w.arrived, w.live, w.generation);
}
/* All threads of all blocks; those that have ended do not count. */
inline void grid_barrier()
{
    grid &g = state();
    here();
    unsigned live = 0;
    for (const block &b : g.blocks) { live += b.live; }
    meet(g.arrived, live, g.generation);
}

inline void run_fiber()
{
    grid &g = state();
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(nullptr, &g.scheduler_stack, &g.scheduler_size);
#endif
    g.body();
    fiber &f = *g.current;
    block &b = *f.home;
    warp &w = b.warps[f.linear / WARP];
    f.done = true;
    g.progress++;
    b.live--;
    w.live--;
    leave(b.arrived, b.live, b.generation);
    leave(w.arrived, w.live, w.generation);
    switch_to_scheduler(true);
}

inline void begin_block(block &b, fiber *fibers, unsigned threads, const dim3 &index, size_t shared)
{
    grid &g = state();
    b = block{index, std::vector<warp>((threads + WARP - 1) / WARP), threads, 0, 0, {}};
    b.shared.assign(shared + 16, 0xCD);
    for (unsigned i = 0; i < threads; i++) {
        fiber &f = fibers[i];
        if (!f.stack) { f.stack.reset(new char[STACK]); }
        f.done = f.started = false;
        f.linear = i;
        f.home = &b;
        f.fake_stack = nullptr;
        f.thread = dim3(i % g.block_dim.x, i / g.block_dim.x % g.block_dim.y, i / (g.block_dim.x * g.block_dim.y));
        b.warps[i / WARP].live++;
        getcontext(&f.context);
        f.context.uc_stack.ss_sp = f.stack.get();
        f.context.uc_stack.ss_size = STACK;
        f.context.uc_link = &g.scheduler;
        makecontext(&f.context, run_fiber, 0);
    }
}

/* Until all fibers have ended. A round in which nobody gets on: they wait for each other at different places. */
inline void run_fibers()
{
    grid &g = state();
    for (bool left = true; left;) {
        uint64_t before = g.progress;
        left = false;
        for (fiber &f : g.fibers) {
            if (f.done) { continue; }
            switch_to(f);
            left = left || !f.done;
        }
        if (left && g.progress == before) {
            g.current = &g.fibers[0];
            die("threads wait at different barriers");
        }
    }
}

inline dim3 block_index(const dim3 &grid_dim, uint64_t i)
{
    return dim3((unsigned)(i % grid_dim.x), (unsigned)(i / grid_dim.x % grid_dim.y),
                (unsigned)(i / ((uint64_t)grid_dim.x * grid_dim.y)));
}

/* A kernel's pointers are device memory (or NULL). */
template <typename T> void check_argument(const T &)
{
}
template <typename T> void check_argument(T *pointer)
{
    if (pointer) { standin_device(pointer, 1, "a kernel", "argument"); }
}

/* The grid in fibers: threads may meet; `together`: all blocks at once. */
inline void run_meeting(const std::function<void()> &body, bool together, const dim3 &grid_dim, const dim3 &block_dim,
                        size_t shared)
{
    grid &g = state();
    unsigned threads = block_dim.x * block_dim.y * block_dim.z;
    uint64_t blocks = (uint64_t)grid_dim.x * grid_dim.y * grid_dim.z, at_once = together ? blocks : 1;
    g.grid_dim = grid_dim;
    g.block_dim = block_dim;
    g.apart = false;
    g.body = body;
    if (g.fibers.size() != at_once * threads) {
        g.fibers.clear();
        g.fibers.resize(at_once * threads);
    }
    g.blocks.clear();
    g.blocks.resize(at_once);
    for (uint64_t first = 0; first < blocks; first += at_once) {
        g.arrived = 0;
        for (uint64_t b = 0; b < at_once; b++) {
            begin_block(g.blocks[b], &g.fibers[b * threads], threads, block_index(grid_dim, first + b), shared);
        }
        run_fibers();
    }
}

/* The grid as plain loops. */
template <typename Body> void run_apart(const Body &body, const dim3 &grid_dim, const dim3 &block_dim)
{
    grid &g = state();
    uint64_t blocks = (uint64_t)grid_dim.x * grid_dim.y * grid_dim.z;
    g.grid_dim = grid_dim;
    g.block_dim = block_dim;
    g.apart = true;
    for (uint64_t b = 0; b < blocks; b++) {
        g.plain_block = block_index(grid_dim, b);
        for (unsigned z = 0; z < block_dim.z; z++) {
            for (unsigned y = 0; y < block_dim.y; y++) {
                for (unsigned x = 0; x < block_dim.x; x++) {
                    g.plain_thread = dim3(x, y, z);
                    body();
                }
            }
        }
    }
}

/* A launch with its arguments: done now, or at every launch of the graph that it becomes part of. */
/* As the macro of the device does: the launch's error, or what an earlier call left. */
inline int finish_launch(int result)
{
    const int last = standin_last_error();
    return result ? result : last;
}

inline int submit(spade_stream stream, std::function<void()> run)
{
    standin_stream(stream, "a kernel");
    if (!standin_captures(stream)) {
        auto call = [](const void *data) { (*static_cast<const std::function<void()> *>(data))(); };
        return finish_launch(standin_submit(stream, call, nullptr, &run, 0));
    }
    auto *kept = new std::function<void()>(std::move(run));
    auto call = [](const void *data) { (**static_cast<std::function<void()> *const *>(data))(); };
    auto release = [](void *data) { delete *static_cast<std::function<void()> **>(data); };
    return finish_launch(standin_submit(stream, call, release, &kept, sizeof kept));
}

template <typename Kernel, typename... Arguments>
int launch(bool together, Kernel kernel, dim3 grid_dim, dim3 block_dim, size_t shared, spade_stream stream,
           Arguments... arguments)
{
    (check_argument(arguments), ...);
    unsigned threads = block_dim.x * block_dim.y * block_dim.z;
    uint64_t blocks = (uint64_t)grid_dim.x * grid_dim.y * grid_dim.z;
    if (threads < 1 || threads > 1024 || blocks < 1 || shared > (227 << 10)) { return 9; /* invalid configuration */ }
    return submit(stream, [=] {
        (check_argument(arguments), ...);
        run_meeting([&] { kernel(arguments...); }, together, grid_dim, block_dim, shared);
    });
}

template <typename Kernel, typename... Arguments>
int launch_apart(Kernel kernel, dim3 grid_dim, dim3 block_dim, spade_stream stream, Arguments... arguments)
{
    (check_argument(arguments), ...);
    uint64_t blocks = (uint64_t)grid_dim.x * grid_dim.y * grid_dim.z;
    if (block_dim.x * block_dim.y * block_dim.z > 1024 || blocks < 1) { return 9; }
    return submit(stream, [=] {
        (check_argument(arguments), ...);
        run_apart([&] { kernel(arguments...); }, grid_dim, block_dim);
    });
}

/* Every lane of a warp gives a value and takes that of another. */
template <typename T> T shuffle(T value, unsigned from)
{
    static_assert(sizeof(T) <= sizeof(uint64_t), "a value of at most 8 bytes");
    warp &w = this_warp();
    uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof value);
    w.slot[lane()] = bits;
    warp_barrier();
    bits = w.slot[from % WARP];
    warp_barrier();
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

inline unsigned ballot(bool value)
{
    warp &w = this_warp();
    w.slot[lane()] = value;
    warp_barrier();
    unsigned result = 0;
    for (unsigned i = 0; i < w.live && i < WARP; i++) { result |= w.slot[i] ? 1u << i : 0; }
    warp_barrier();
    return result;
}

/* ---- mma.sync of 16 x 8 tiles, c += a b, over 8 words of the inner dimension (kernels/mma.cuh says what a lane has) */

/* Number `part` of a word: two of bfloat16, or one of TF32, of which the hardware ignores the last 13 bits. */
template <int PACK> float number_of(uint32_t word, int part)
{
    uint32_t bits = PACK == 1 ? word & ~0x1fffu : part ? word & 0xffff0000u : word << 16;
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

/* Every lane shows its part of the operands, computes its part of the results from all of them, and waits for the others
 * to have done so. */
template <int PACK, int M, int N>
void multiply_tiles(float (&c)[M][N][4], const uint32_t (&a)[M][4], const uint32_t (&b)[N][2])
{
    enum { SUMMANDS = 8 * PACK };
    struct operands {
        const uint32_t (*a)[4];
        const uint32_t (*b)[2];
    } own = {a, b};
    warp &w = this_warp();
    if (w.live != WARP) { die("mma by a part of a warp"); }
    w.slot[lane()] = (uint64_t)(uintptr_t)&own;
    warp_barrier();
    auto of = [&](unsigned from) { return reinterpret_cast<const operands *>((uintptr_t)w.slot[from]); };
    const unsigned g = lane() / 4, t = lane() % 4;
    float rows[2][M][SUMMANDS], columns[2][N][SUMMANDS];
    for (unsigned k = 0; k < SUMMANDS; k++) {
        const unsigned word = k / PACK, high = word / 4;
        for (unsigned half = 0; half < 2; half++) {
            const operands *row = of(4 * g + word % 4), *column = of(4 * (2 * t + half) + word % 4);
            for (int i = 0; i < M; i++) { rows[half][i][k] = number_of<PACK>(row->a[i][half + 2 * high], k % PACK); }
            for (int j = 0; j < N; j++) { columns[half][j][k] = number_of<PACK>(column->b[j][high], k % PACK); }
        }
    }
    for (int i = 0; i < M; i++) {
        for (int j = 0; j < N; j++) {
            for (int e = 0; e < 4; e++) {
                for (unsigned k = 0; k < SUMMANDS; k++) { c[i][j][e] += rows[e / 2][i][k] * columns[e % 2][j][k]; }
            }
        }
    }
    warp_barrier();
}

inline const dim3 &thread_index()
{
    grid &g = state();
    return g.apart ? g.plain_thread : g.current->thread;
}
inline const dim3 &block_position()
{
    grid &g = state();
    return g.apart ? g.plain_block : g.current->home->index;
}

} // namespace emulation

#define threadIdx (emulation::thread_index())
#define blockIdx (emulation::block_position())
#define blockDim (emulation::state().block_dim)
#define gridDim (emulation::state().grid_dim)
#define warpSize 32

static inline void __syncthreads()
{
    emulation::block_barrier();
}
static inline void __syncwarp(unsigned = ~0u)
{
    emulation::warp_barrier();
}
static inline void spade_grid_sync()
{
    emulation::grid_barrier();
}
static inline void __threadfence()
{
}
template <typename T> static inline T __shfl_sync(unsigned, T value, unsigned from)
{
    return emulation::shuffle(value, from);
}
template <typename T> static inline T __shfl_xor_sync(unsigned, T value, unsigned mask)
{
    return emulation::shuffle(value, emulation::lane() ^ mask);
}
template <typename T> static inline T __shfl_down_sync(unsigned, T value, unsigned by)
{
    unsigned lane = emulation::lane();
    return emulation::shuffle(value, lane + by < 32 ? lane + by : lane);
}
template <typename T> static inline T __shfl_up_sync(unsigned, T value, unsigned by)
{
    unsigned lane = emulation::lane();
    return emulation::shuffle(value, lane >= by ? lane - by : lane);
}
static inline unsigned __ballot_sync(unsigned, int value)
{
    return emulation::ballot(value != 0);
}
static inline int __popc(unsigned x)
{
    return __builtin_popcount(x);
}
static inline int __popcll(unsigned long long x)
{
    return __builtin_popcountll(x);
}
static inline int __clz(unsigned x)
{
    return x ? __builtin_clz(x) : 32;
}
static inline int __ffs(int x)
{
    return __builtin_ffs(x);
}
/* Fibers of one launch take turns: reading and writing needs no lock. */
template <typename T> static inline T atomicAdd(T *p, T value)
{
    T old = *p;
    *p = (T)(old + value);
    return old;
}
template <typename T> static inline T atomicMin(T *p, T value)
{
    T old = *p;
    *p = value < old ? value : old;
    return old;
}
template <typename T> static inline T atomicMax(T *p, T value)
{
    T old = *p;
    *p = value > old ? value : old;
    return old;
}
template <typename T> static inline T atomicOr(T *p, T value)
{
    T old = *p;
    *p = old | value;
    return old;
}
template <typename T> static inline T __ldg(const T *p)
{
    return *p;
}
static inline int __float_as_int(float x)
{
    int bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}
static inline unsigned long long __double_as_longlong(double x)
{
    unsigned long long bits;
    std::memcpy(&bits, &x, sizeof bits);
    return bits;
}
static inline double __longlong_as_double(long long bits)
{
    double x;
    std::memcpy(&x, &bits, sizeof x);
    return x;
}
static inline unsigned __float_as_uint(float x)
{
    unsigned bits;
    std::memcpy(&bits, &x, sizeof bits);
    return bits;
}
/* cos and sin of pi x: exact at multiples of 1/2 as CUDA's */
static inline double cospi(double x)
{
    double r = std::fabs(std::remainder(x, 2.0));
    return r == 0.5 ? 0.0 : std::cos(3.14159265358979323846 * r);
}
static inline double sinpi(double x)
{
    double r = std::remainder(x, 2.0);
    return std::fabs(r) == 1.0 ? 0.0 : std::sin(3.14159265358979323846 * r);
}
using std::fma;
using std::isfinite;
using std::isnan;

#define SPADE_LAUNCH(kernel, grid, block, shared, stream, ...)                                                         \
    emulation::launch(false, kernel, grid, block, shared, stream, __VA_ARGS__)
#define SPADE_LAUNCH_INDEPENDENT(kernel, grid, block, stream, ...)                                                     \
    emulation::launch_apart(kernel, grid, block, stream, __VA_ARGS__)
#define SPADE_LAUNCH_COOPERATIVE(kernel, grid, block, shared, stream, ...)                                             \
    emulation::launch(true, kernel, grid, block, shared, stream, __VA_ARGS__)
#define SPADE_DYNAMIC_SHARED(type, name)                                                                               \
    type *name = reinterpret_cast<type *>((reinterpret_cast<uintptr_t>(emulation::here().shared.data()) + 15) / 16 * 16)

#endif
