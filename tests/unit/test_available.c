/* test_available.c - how much memory a process may take, from what the kernel says: made-up /proc and /sys. */
#include <inttypes.h>
#include <sys/stat.h>

#include "support/command.h"
#include "base/base.h"

static char *prefix;

static void say(const char *relative, const char *text)
{
    char path[512], line[600];
    snprintf(path, sizeof path, "%s/%s", prefix, relative);
    snprintf(line, sizeof line, "mkdir -p \"$(dirname %s)\"", path);
    assert_int_equal(system(line), 0);
    file_write(path, text, strlen(text));
}

static void expect(uint64_t bytes)
{
    const uint64_t found = spade_available_memory(prefix);
    if (found != bytes) { fail_msg("%" PRIu64 " in place of %" PRIu64, found, bytes); }
}

static void test_available(void **state)
{
    (void)state;
    const uint64_t mebibyte = 1 << 20;
    prefix = folder_make();
    expect(UINT64_MAX); /* nobody says anything */
    say("proc/meminfo", "MemTotal:  8388608 kB\nMemFree: 1 kB\nMemAvailable:  4194304 kB\n");
    expect(4096 * mebibyte);
    /* version 2: the group, and those above it */
    say("proc/self/cgroup", "0::/user.slice/job\n");
    expect(4096 * mebibyte);
    say("sys/fs/cgroup/user.slice/job/memory.max", "max\n");
    expect(4096 * mebibyte);
    say("sys/fs/cgroup/user.slice/memory.max", "1073741824\n");
    say("sys/fs/cgroup/user.slice/memory.current", "734003200\n");
    say("sys/fs/cgroup/user.slice/memory.stat", "anon 1\ninactive_file 209715200\n");
    expect((1024 - 700 + 200) * mebibyte);
    say("sys/fs/cgroup/user.slice/job/memory.max", "104857600\n");
    say("sys/fs/cgroup/user.slice/job/memory.current", "104857700\n"); /* beyond its limit */
    expect(0);
    /* a container whose group is shown as the root */
    say("proc/self/cgroup", "0::/\n");
    expect(4096 * mebibyte);
    say("sys/fs/cgroup/memory.max", "536870912\n");
    expect(512 * mebibyte);
    /* version 1, among other controllers */
    say("proc/self/cgroup", "9:name=systemd:/\n4:memory:/docker/1f\n0::/nowhere\n");
    say("sys/fs/cgroup/memory/docker/1f/memory.limit_in_bytes", "268435456\n");
    say("sys/fs/cgroup/memory/docker/1f/memory.usage_in_bytes", "1048576\n");
    say("sys/fs/cgroup/memory.max", "max\n");
    expect(255 * mebibyte);
    say("sys/fs/cgroup/memory/memory.limit_in_bytes", "134217728\n"); /* of a group above */
    expect(128 * mebibyte);
    folder_remove(prefix);
}

/* What no machine has is refused by its size. */
static void test_too_much(void **state)
{
    (void)state;
    spade_context *context;
    void *memory;
    assert_int_equal(spade_context_create(NULL, &context), SPADE_OK);
    const uint64_t machine = spade_machine_memory();
    assert_true(machine < UINT64_MAX / 2 && machine > 1 << 20);
    assert_int_equal(spade_alloc(context, machine + 1, "a test", &memory), SPADE_ERROR_MEMORY);
    assert_non_null(strstr(spade_message(context), "out of memory: a test needs"));
    assert_null(memory);
    spade_context_destroy(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_available), cmocka_unit_test(test_too_much)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
