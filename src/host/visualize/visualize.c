/* visualize.c - feature visualisation: options, and the steps one after another. */
#include "base/caller_options.h"
#include "visualize/visualizer.h"

/* ---- options */

void spade_visualize_options_init_sized(spade_visualize_options *options, size_t size)
{
    const spade_visualize_options defaults = {.steps = 512, .rate = 0.05};
    spade_caller_options_init(options, size, &defaults, sizeof defaults);
}

static spade_status check_side(spade_context *context, const char *name, int64_t side)
{
    if (side >= SPADE_MIN_VISUALIZE_SIDE && side <= SPADE_MAX_VISUALIZE_SIDE) { return SPADE_OK; }
    return spade_fail(context, SPADE_ERROR_ARGUMENT, "a picture's %s of %lld pixels: %d to %d are possible", name,
                      (long long)side, SPADE_MIN_VISUALIZE_SIDE, SPADE_MAX_VISUALIZE_SIDE);
}

static spade_status take_options(spade_context *context, const spade_model *model, const spade_visualize_options *given,
                                 spade_visualize_options *out, int64_t shape[3])
{
    spade_visualize_options_init(out);
    SPADE_TRY(spade_caller_options_take(context, "spade_visualize_options", given, out, sizeof *out));
    spade_model_input(model, &shape[0], &shape[1], &shape[2]);
    if (out->height) { shape[1] = out->height; }
    if (out->width) { shape[2] = out->width; }
    SPADE_TRY(check_side(context, "height", shape[1]));
    SPADE_TRY(check_side(context, "width", shape[2]));
    if (out->steps < 1 || out->steps > SPADE_MAX_VISUALIZE_STEPS) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "%lld steps: 1 to %d are possible", (long long)out->steps,
                          SPADE_MAX_VISUALIZE_STEPS);
    }
    if (!(out->rate > 0 && out->rate <= 100)) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "a learning rate of %g: above 0 to 100 is possible",
                          out->rate);
    }
    return SPADE_OK;
}

static spade_status take_preprocess(spade_context *context, const spade_preprocess *given, const int64_t shape[3],
                                    spade_preprocess *out)
{
    spade_preprocess_init(out, shape[1], shape[2]);
    if (given) { SPADE_TRY(spade_caller_options_take(context, "spade_preprocess", given, out, sizeof *out)); }
    out->channels = shape[0];
    return SPADE_OK;
}

spade_status spade_visualize_shape(spade_context *context, const spade_model *model, const spade_objective *objective,
                                   const spade_visualize_options *options, int64_t shape[3])
{
    spade_visualize_options own;
    visualize_objective found;
    SPADE_TRY(take_options(context, model, options, &own, shape));
    return visualize_objective_find(context, model, objective, &found);
}

/* ---- the picture */

static spade_status run_step(visualizer *z, int64_t step)
{
    spade_warp_args warp = visualizer_warp(z);
    if (z->options.still) {
        visualize_moves_none(&warp);
    } else {
        visualize_moves_draw(z->key, (uint32_t)step, &warp);
    }
    SPADE_TRY(visualizer_make_input(z, &warp));
    SPADE_TRY(visualizer_gradient(z, &warp));
    return visualizer_ascend(z, step);
}

static spade_status climb(visualizer *z, float *picture, spade_visualize_note *note)
{
    const size_t bytes = sizeof *picture * (size_t)(z->shape[0] * z->shape[1] * z->shape[2]);
    spade_warp_args whole = visualizer_warp(z);
    visualize_moves_none(&whole);
    SPADE_TRY(visualizer_measure(z, &whole, &note->before));
    for (int64_t step = 1; step <= z->options.steps; step++) {
        SPADE_TRY(run_step(z, step));
        spade_report_progress(z->context, "visualise", (double)step, (double)z->options.steps);
    }
    SPADE_TRY(visualizer_measure(z, &whole, &note->after)); /* which makes the picture of the last spectrum */
    SPADE_TRY(z->device->backend->download(z->device, picture, z->picture, bytes));
    return z->device->backend->synchronize(z->device);
}

spade_status spade_visualize(spade_context *context, const spade_model *model, const spade_trace *trace,
                             const spade_objective *objective, const spade_visualize_options *options, float *picture,
                             spade_visualize_note *note)
{
    visualizer z = {.context = context, .device = context->device};
    spade_visualize_note own;
    SPADE_TRY(take_options(context, model, options, &z.options, z.shape));
    SPADE_TRY(spade_weight_override_check(context, trace, model));
    SPADE_TRY(take_preprocess(context, z.options.preprocess, z.shape, &z.preprocess));
    SPADE_TRY(visualize_objective_find(context, model, objective, &z.objective));
    spade_status status = visualizer_open(&z, model, trace);
    if (status == SPADE_OK) { status = climb(&z, picture, note ? note : &own); }
    visualizer_close(&z);
    return status;
}
