/* progress.c - a bar with an estimate on a terminal, now and then a line elsewhere. Always on stderr. */
#include <unistd.h>

#include "cli/cli.h"

static const double bar_interval = 0.1, line_interval = 10; /* seconds between two outputs */

void cli_progress_init(cli_progress *progress, const cli_options *options)
{
    *progress =
        (cli_progress){.quiet = options->quiet, .verbose = options->verbose, .terminal = isatty(STDERR_FILENO) == 1};
}

void cli_progress_clear(cli_progress *progress)
{
    if (progress->shown) { fputs("\r\033[K", stderr); }
    progress->shown = false;
}

/* "1:05 left", or nothing while it is too early to tell. */
static void format_left(const cli_progress *progress, double fraction, char *buffer, size_t size)
{
    double elapsed = spade_now() - progress->start;
    buffer[0] = 0;
    if (fraction < 0.01 || elapsed < 1) { return; }
    long left = (long)(elapsed * (1 - fraction) / fraction + 0.5);
    if (left >= 3600) {
        snprintf(buffer, size, ", %ld:%02ld:%02ld left", left / 3600, left / 60 % 60, left % 60);
    } else {
        snprintf(buffer, size, ", %ld:%02ld left", left / 60, left % 60);
    }
}

static void show(cli_progress *progress, bool force)
{
    double now = spade_now();
    double fraction = progress->fraction;
    char left[48];
    if (progress->quiet) { return; }
    if (!force && now - progress->last < (progress->terminal ? bar_interval : line_interval)) { return; }
    if (!progress->terminal && now - progress->last < line_interval) { return; }
    progress->last = now;
    format_left(progress, fraction, left, sizeof left);
    if (!progress->terminal) {
        fprintf(stderr, "spade: %.0f %% (%s)%s\n", 100 * fraction, progress->label, left);
        return;
    }
    enum { WIDTH = 30 };
    char bar[WIDTH + 1];
    int full = (int)(fraction * WIDTH);
    for (int i = 0; i < WIDTH; i++) { bar[i] = i < full ? '#' : '.'; }
    bar[WIDTH] = 0;
    fprintf(stderr, "\r[%s] %3.0f %%  %s%s\033[K", bar, 100 * fraction, progress->label, left);
    fflush(stderr);
    progress->shown = true;
}

void cli_progress_phase(void *user, const char *label, double from, double to)
{
    cli_progress *progress = user;
    if (progress->start == 0) { progress->start = progress->last = spade_now(); }
    progress->fraction = from > progress->fraction ? from : progress->fraction;
    progress->from = from;
    progress->to = to;
    snprintf(progress->label, sizeof progress->label, "%s", label);
    show(progress, true);
}

void cli_progress_stage(void *user, const char *stage, double done, double total)
{
    cli_progress *progress = user;
    (void)stage; /* a phase is one stage */
    if (total <= 0 || progress->start == 0) { return; }
    double at = done / total < 1 ? done / total : 1;
    double fraction = progress->from + (progress->to - progress->from) * at;
    progress->fraction = fraction > progress->fraction ? fraction : progress->fraction;
    show(progress, false);
}

void cli_progress_note(void *user, const char *line)
{
    cli_progress *progress = user;
    if (progress->quiet) { return; }
    cli_progress_clear(progress);
    cli_print_error(line);
}

void cli_progress_log(void *user, spade_log_level level, const char *line)
{
    cli_progress *progress = user;
    if (level > SPADE_LOG_WARNING ? !progress->verbose : progress->quiet) { return; }
    cli_progress_clear(progress);
    fprintf(stderr, "spade: %s%s\n", level == SPADE_LOG_WARNING ? "warning: " : "", line);
}
