/*
 * spade/spade.h - the library: introduction, and all its headers.
 *
 * spade explains image classifiers. For one picture it finds the network's *trace*, a sparse twin that answers as the
 * network does on variants of this picture, and makes maps of both: what decided?
 *
 *   picture -> augment -> forward with taps -> Hessian -> solve -> trace -> attribution -> metric
 *
 * ---- The order of calls
 *
 * 1. spade_context_create()       device, threads, memory budget: all that follows happens in it       context.h
 * 2. spade_model_load()           a network from an ONNX file                                          model.h
 * 3. spade_picture_load(), spade_preprocess_apply()    the network's input                             picture.h
 * 4. spade_batch_from_picture()   random variants of the picture                                       augment.h
 * 5. spade_trace_create()         the trace (hessian.h and solve.h are its steps, for their own sake)  trace.h
 * 6. spade_attribution_create(), spade_attribute()     a method with its options; maps                 attribution.h
 * 7. spade_heatmap(), spade_measure(), spade_array_save()    pictures, metrics, files    picture.h, metric.h, array.h
 *
 * After 2 or 5: spade_visualize(), the picture that a class, a channel or a neuron answers most to     visualize.h
 *
 * From examples/explain.c, which has it with all its declarations:
 *
 *     if (spade_context_create(NULL, &context) || spade_model_load(context, argv[1], NULL, &model)) goto fail;
 *     spade_model_input(model, &channels, &height, &width);
 *
 *     spade_preprocess preprocess;
 *     spade_preprocess_init(&preprocess, height, width);
 *     if (spade_picture_load(context, argv[2], &picture) ||
 *         spade_preprocess_apply(context, &preprocess, &picture, input, NULL) ||
 *         spade_model_forward(context, model, NULL, input, 1, logits))
 *         goto fail;
 *
 *     spade_augment_options augment;
 *     spade_augment_options_init(&augment);
 *     augment.variants = 64;
 *     spade_trace_options options;
 *     spade_trace_options_init(&options);
 *     if (spade_batch_from_picture(context, &picture, &preprocess, &augment, &batch) ||
 *         spade_trace_create(context, model, batch, &options, &trace))
 *         goto fail;
 *
 *     const spade_target target = {.class_index = top};
 *     if (spade_attribution_create(context, "saliency", &saliency) ||
 *         spade_attribute(context, model, NULL, saliency, input, &target, 1, maps, NULL) ||
 *         spade_attribute(context, model, trace, saliency, input, &target, 1, maps + size, NULL) ||
 *         spade_array_save(context, "maps.npy", maps, 4, (int64_t[]){2, channels, height, width}))
 *         goto fail;
 *
 * ---- Ownership
 *
 * What spade_..._create(), _load() or _from_...() made is the caller's; the _destroy() or _clear() of its name ends it,
 * and takes NULL. What others live in goes last: traces before the model, everything before the context. Pointers that are
 * passed in are borrowed for the call, or, where the header says so, for the object's life (the array of
 * spade_batch_from_array()). None may be NULL unless the header says what that means: a text or path that something is made
 * of, variants, and what spade_model_forward() and spade_attribute() read and write are SPADE_ERROR_ARGUMENT then; others
 * are not checked. const char * that come back belong to the object, or are static.
 *
 * ---- Threads
 *
 * A context is used by one thread at a time, and so is all that was made in it; any number of contexts may work beside
 * each other. Inside of a call the library uses the context's threads. There are no mutable globals. Results depend
 * neither on the number of threads nor on the memory budget, not by a bit.
 *
 * ---- Errors
 *
 * What can fail returns a spade_status (status.h), SPADE_OK being 0; spade_message() has one line: what was wrong, where,
 * the limit, what to do. After a failure output is undefined, but pointers to new objects are NULL
 * (spade_context_create() says its exception), and all objects are as good as before. spade never exits the process and
 * prints nothing.
 *
 * ---- Versions
 *
 * SPADE_VERSION (version.h) is that of the headers, spade_version() that of the library in use. A program goes on
 * working, without being compiled again, with any later library of the same major version (before 1.0: of the same
 * minor version; the name of libspade.so has it), and with an earlier one as far as it only asks for what that knows:
 * functions stay; enumerations grow at their end.
 *
 * Structs that begin with `size` grow at their end. Call spade_..._init() before setting members: it fills in defaults,
 * and tells the library how much of the struct the program knows. What the program lacks has its default; what only the
 * program knows is SPADE_ERROR_ARGUMENT where it was set. Bindings without C's inline functions call the _init_sized()
 * forms with the size of their declaration. All other structs stay as they are within a major version: more of
 * what they tell will have a function of its own.
 */
#ifndef SPADE_SPADE_H
#define SPADE_SPADE_H

#include "spade/array.h"
#include "spade/augment.h"
#include "spade/context.h"
#include "spade/hessian.h"
#include "spade/attribution.h"
#include "spade/check.h"
#include "spade/metric.h"
#include "spade/model.h"
#include "spade/option.h"
#include "spade/picture.h"
#include "spade/solve.h"
#include "spade/status.h"
#include "spade/trace.h"
#include "spade/version.h"
#include "spade/visualize.h"

#endif
