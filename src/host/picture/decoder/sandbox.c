/*
 * sandbox.c - what the decoder gives up before it looks at a file.
 *
 * A fault in a library must not become more than a wrong picture: what the caller left open is closed, limits leave no
 * descriptor to open and no process to start, and where the kernel has seccomp, only the system calls for memory, for
 * reading and writing what is open, and for the end are let through; all others fail with EPERM. Built with sanitizers,
 * which open files and threads of their own, it is time alone that is limited.
 */
#include <errno.h>
#include <limits.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "picture/decoder/decoder.h"

enum { MAX_SECONDS = 20 };

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

#ifdef __SANITIZE_ADDRESS__
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define SANITIZED 1
#endif
#endif

#if defined(ARCHITECTURE) && !defined(SANITIZED)
#define ALLOW(name) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_##name, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

static void filter_system_calls(void)
{
    static struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        ALLOW(read),
        ALLOW(write),
        ALLOW(close),
        ALLOW(brk),
        ALLOW(mmap),
        ALLOW(munmap),
        ALLOW(mremap),
        ALLOW(madvise),
        ALLOW(futex),
        ALLOW(getrandom),
        ALLOW(rt_sigreturn),
        ALLOW(exit),
        ALLOW(exit_group),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
    };
    struct sock_fprog program = {.len = sizeof filter / sizeof *filter, .filter = filter};
    /* Kernels and containers without seccomp: what the limits keep out stays out. */
    (void)prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}
#endif

static void limit(int what, rlim_t soft, rlim_t hard)
{
    const struct rlimit to = {soft, hard};
    (void)setrlimit(what, &to); /* a limit that is lower already may stay */
}

void decoder_enter_sandbox(void)
{
    limit(RLIMIT_CPU, MAX_SECONDS, MAX_SECONDS + 1);
    limit(RLIMIT_CORE, 0, 0);
    (void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
#ifndef SANITIZED
#ifdef SYS_close_range /* Linux 5.9; before that, only what was opened to be inherited is left open */
    (void)syscall(SYS_close_range, 3U, UINT_MAX, 0U);
#endif
    limit(RLIMIT_NOFILE, 0, 0);
    limit(RLIMIT_NPROC, 0, 0);
#ifdef ARCHITECTURE
    filter_system_calls();
#endif
#endif
}
