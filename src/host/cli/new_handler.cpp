// new_handler.cpp - what the C++ libraries (oneDNN) do where there is no memory: the command ends with a line. By itself the
// exception would end it without one, as it leaves a parallel region.
#include <new>
#include <unistd.h>

extern "C" void cli_set_new_handler(void);

static void end_without_memory()
{
    static const char line[] =
        "spade: out of memory: oneDNN needs more for its own buffers than the system, or ulimit -v, "
        "leaves; give fewer --threads, or less --memory\n";
    ssize_t written = write(STDERR_FILENO, line, sizeof line - 1);
    (void)written;
    _exit(1);
}

void cli_set_new_handler(void)
{
    std::set_new_handler(end_without_memory);
}
