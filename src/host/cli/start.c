/* start.c - what stands before everything else. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "cli/cli.h"

void cli_start(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) >= 0 || errno != EBADF) { continue; }
        /* The lowest number that is free, for what can be neither read nor written, and is there without /dev too. */
        (void)open("/", O_PATH); /* cppcheck-suppress leakReturnValNotUsed */
    }
    signal(SIGXFSZ, SIG_IGN);
    cli_set_new_handler();
}
