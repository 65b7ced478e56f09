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
        /* the lowest number that is free; only for what nobody does with it: writing to input, reading from output */
        (void)open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
    }
    signal(SIGXFSZ, SIG_IGN);
    cli_set_new_handler();
}
