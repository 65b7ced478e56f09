/* context.c - messages, log, progress, threads, usage. A context is created and destroyed in backend/context.c, as that
 * opens its device. */
#include <omp.h>
#include <stdarg.h>

#include "base/base.h"
#include "base/number.h"
#include "base/text.h"

static const char *const status_names[] = {
    [SPADE_OK] = "ok",
    [SPADE_ERROR_ARGUMENT] = "bad argument",
    [SPADE_ERROR_INPUT] = "bad input",
    [SPADE_ERROR_UNSUPPORTED] = "unsupported",
    [SPADE_ERROR_MEMORY] = "out of memory",
    [SPADE_ERROR_NUMERICAL] = "numerical failure",
    [SPADE_ERROR_IO] = "input/output failure",
    [SPADE_ERROR_DEVICE] = "device failure",
    [SPADE_ERROR_INTERNAL] = "internal fault",
};

const char *spade_status_name(spade_status status)
{
    size_t count = sizeof status_names / sizeof *status_names;
    return (size_t)status < count ? status_names[status] : "unknown status";
}

const char *spade_message(const spade_context *context)
{
    return context ? context->message : "out of memory: no context";
}

/* Messages are one line of printable text, whatever a hostile file put into its names. */
spade_status spade_set_error(spade_context *context, spade_status status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    spade_print_list(context->message, sizeof context->message, format, arguments);
    va_end(arguments);
    spade_make_printable(context->message);
    return status;
}

spade_status spade_prefix_error(spade_context *context, spade_status status, const char *format, ...)
{
    char prefix[512];
    char below[sizeof context->message];
    va_list arguments;
    va_start(arguments, format);
    spade_print_list(prefix, sizeof prefix, format, arguments);
    va_end(arguments);
    memcpy(below, context->message, sizeof below);
    int length = snprintf(context->message, sizeof context->message, "%s: ", prefix);
    size_t room = sizeof context->message - (size_t)length;
    snprintf(context->message + length, room, "%.*s", (int)room - 1, below);
    spade_make_printable(context->message);
    return status;
}

void spade_error_save(const spade_context *context, spade_error *out)
{
    memcpy(out->message, context->message, sizeof out->message);
}

void spade_error_restore(spade_context *context, const spade_error *error)
{
    memcpy(context->message, error->message, sizeof context->message);
}

void spade_error_clear(spade_context *context)
{
    context->message[0] = '\0';
}

void spade_log(spade_context *context, spade_log_level level, const char *format, ...)
{
    if (!context->log) { return; }
    char line[1024];
    va_list arguments;
    va_start(arguments, format);
    spade_print_list(line, sizeof line, format, arguments);
    va_end(arguments);
    spade_make_printable(line);
    context->log(context->user, level, line);
}

void spade_report_progress(spade_context *context, const char *stage, double done, double total)
{
    if (!context->progress) { return; }
    spade_progress_span *span = &context->span;
    done = done < total ? done : total; /* a sum of parts may be off by a rounding */
    if (!span->stage) {
        context->progress(context->user, stage, done, total);
        return;
    }
    double at = span->from + (span->to - span->from) * (total > 0 ? done / total : 1);
    span->reached = at > span->reached ? at : span->reached;
    context->progress(context->user, span->stage, span->reached, 1);
}

void spade_progress_begin_span(spade_context *context, const char *stage, double from, double to)
{
    double reached = context->span.stage && stage ? context->span.reached : 0;
    context->span = (spade_progress_span){.stage = stage, .from = from, .to = to < 1 ? to : 1, .reached = reached};
}

/* ---- threads */

int spade_set_num_threads(int threads)
{
    int before = omp_get_max_threads();
    omp_set_num_threads(threads);
    return before;
}

/* ---- usage */

const char *spade_stage_name(spade_stage stage)
{
    static const char *const names[SPADE_STAGE_COUNT] = {"augment", "forward", "hessian", "factor", "sweep"};
    return (unsigned)stage < SPADE_STAGE_COUNT ? names[stage] : "unknown stage";
}

void spade_stage_done(spade_context *context, spade_stage stage, double seconds)
{
    spade_stage_usage *usage = &context->stages[stage];
    usage->seconds += seconds;
    if (context->stage_peak > usage->memory) { usage->memory = context->stage_peak; }
    context->stage_peak = spade_bytes_in_use(context);
}

void spade_usage(const spade_context *context, spade_stage_usage usage[SPADE_STAGE_COUNT])
{
    memcpy(usage, context->stages, sizeof context->stages);
}

void spade_usage_reset(spade_context *context)
{
    memset(context->stages, 0, sizeof context->stages);
    context->stage_peak = spade_bytes_in_use(context);
}

char *spade_format_bytes(uint64_t bytes, char *buffer)
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    double value = (double)bytes;
    int unit = 0;
    while (value >= 1024 && unit < 4) { value /= 1024, unit++; }
    spade_print(buffer, 32, unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
    return buffer;
}
