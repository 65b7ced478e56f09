/* context.c - messages, log, progress, the byte budget. Creation and destruction are in backend/registry.c: they need a
 * device. */
#include <stdarg.h>

#include "base/base.h"

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

/* Messages are one line of printable text whatever a hostile file put into names. */
static void make_one_line(char *text)
{
    for (; *text; text++) {
        if ((unsigned char)*text < 0x20 || *text == 0x7f) { *text = '?'; }
    }
}

spade_status(spade_fail)(spade_context *context, spade_status status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(context->message, sizeof context->message, format, arguments);
    va_end(arguments);
    make_one_line(context->message);
    return status;
}

spade_status(spade_fail_in)(spade_context *context, spade_status status, const char *format, ...)
{
    char prefix[512];
    char below[sizeof context->message];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(prefix, sizeof prefix, format, arguments);
    va_end(arguments);
    memcpy(below, context->message, sizeof below);
    int length = snprintf(context->message, sizeof context->message, "%s: ", prefix);
    size_t room = sizeof context->message - (size_t)length;
    snprintf(context->message + length, room, "%.*s", (int)room - 1, below);
    make_one_line(context->message);
    return status;
}

void spade_log(spade_context *context, spade_log_level level, const char *format, ...)
{
    if (!context->log) { return; }
    char line[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    make_one_line(line);
    context->log(context->user, level, line);
}

void spade_report_progress(spade_context *context, const char *stage, double done, double total)
{
    if (context->progress) { context->progress(context->user, stage, done, total); }
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
    snprintf(buffer, 32, unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
    return buffer;
}
