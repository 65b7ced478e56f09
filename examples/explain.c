/*
 * The C library in one page: read a network and a picture, find the picture's trace, write both saliency maps.
 *
 *   cc explain.c $(pkg-config --cflags --libs spade) -o explain && ./explain MODEL.onnx PICTURE
 */
#include <spade/spade.h>
#include <stdio.h>
#include <stdlib.h>

/* Prints the message of the first call that failed. */
static int failed(const spade_context *context)
{
    fprintf(stderr, "explain: %s\n", context ? spade_message(context) : "out of memory");
    return 1;
}

int main(int argc, char **argv)
{
    spade_context *context = NULL;
    spade_model *model = NULL;
    spade_batch *batch = NULL;
    spade_trace *trace = NULL;
    spade_attribution *saliency = NULL;
    spade_picture picture = {0};
    float *input = NULL, *maps = NULL, *logits = NULL;
    double *scores = NULL;
    int result = 1;

    if (argc != 3) {
        fprintf(stderr, "usage: explain MODEL.onnx PICTURE\n");
        return 2;
    }
    if (spade_context_create(NULL, &context) || spade_model_load(context, argv[1], NULL, &model)) goto fail;

    int64_t channels, height, width;
    spade_model_input(model, &channels, &height, &width);
    int64_t size = channels * height * width, classes = spade_model_classes(model);
    input = malloc((size_t)size * sizeof *input);
    maps = malloc(2 * (size_t)size * sizeof *maps);
    logits = malloc((size_t)spade_model_outputs(model) * sizeof *logits);
    scores = malloc((size_t)classes * sizeof *scores);
    if (!input || !maps || !logits || !scores) goto done;

    /* The picture as the network sees it, and the network's decision. */
    spade_preprocess preprocess;
    spade_preprocess_init(&preprocess, height, width);
    preprocess.resize = 0; /* the example's pictures have the input size already */
    if (spade_picture_load(context, argv[2], &picture) ||
        spade_preprocess_apply(context, &preprocess, &picture, input, NULL) ||
        spade_model_forward(context, model, NULL, input, 1, logits))
        goto fail;
    spade_model_scores(model, logits, NULL, scores);
    int64_t top = 0;
    for (int64_t i = 1; i < classes; i++)
        if (scores[i] > scores[top]) top = i;

    /* The trace: a sparse twin of the network, found on random variants of this one picture. */
    spade_augment_options augment;
    spade_augment_options_init(&augment);
    augment.variants = 64;
    spade_trace_options options;
    spade_trace_options_init(&options);
    if (spade_batch_from_picture(context, &picture, &preprocess, &augment, &batch) ||
        spade_trace_create(context, model, batch, &options, &trace))
        goto fail;

    /* The same method on both: [0] the dense network, [1] the trace. With .contrast = true and .against: why this class and
     * not that one. */
    const spade_target target = {.class_index = top};
    if (spade_attribution_create(context, "saliency", &saliency) ||
        spade_attribute(context, model, NULL, saliency, input, &target, 1, maps, NULL) ||
        spade_attribute(context, model, trace, saliency, input, &target, 1, maps + size, NULL) ||
        spade_array_save(context, "maps.npy", maps, 4, (int64_t[]){2, channels, height, width}))
        goto fail;
    printf("class %lld with score %.3f; maps.npy holds the dense map and the trace's\n", (long long)top, scores[top]);
    result = 0;
    goto done;

fail:
    result = failed(context);
done:
    free(input);
    free(maps);
    free(logits);
    free(scores);
    spade_attribution_destroy(saliency);
    spade_trace_destroy(trace);
    spade_batch_destroy(batch);
    spade_picture_clear(&picture);
    spade_model_destroy(model);
    spade_context_destroy(context);
    return result;
}
