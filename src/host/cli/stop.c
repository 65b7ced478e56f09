/* stop.c - signals, and a reader that is gone, ask the command to stop. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include "cli/cli.h"

static volatile sig_atomic_t stop_requested;

/* Only what is safe in a signal handler. */
static void on_signal(int number)
{
    static const char text[] = "\nspade: stops after the input at hand; once more to stop at once\n";
    const int interrupted = errno; /* of a call whose failure is not looked at yet */
    (void)number;
    stop_requested = 1;
    ssize_t written = write(STDERR_FILENO, text, sizeof text - 1);
    (void)written;
    errno = interrupted;
}

void cli_stop_on_signals(void)
{
    /* The default action is back after the first signal; calls that it interrupts are restarted. */
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART | (int)SA_RESETHAND};
    static const int numbers[] = {SIGINT, SIGTERM};
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        struct sigaction old;
        /* One that is ignored stays so: a shell starts background jobs that way. */
        if (sigaction(numbers[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN) {
            sigaction(numbers[i], &action, NULL);
        }
    }
    signal(SIGPIPE, SIG_IGN); /* writing to standard output fails then */
}

/* What was written to standard output went to a pipe, or a socket, that nobody reads any more. */
static bool reader_is_gone(void)
{
    struct pollfd output = {.fd = STDOUT_FILENO, .events = POLLOUT};
    return ferror(stdout) && poll(&output, 1, 0) == 1 && output.revents & (POLLERR | POLLHUP);
}

bool cli_stopped(void *user)
{
    (void)user;
    return stop_requested != 0 || reader_is_gone();
}
