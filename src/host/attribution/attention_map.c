/* attention_map.c - the attentions of a transformer's blocks, and rows of the product of their matrices. */
#include "attribution/attention_map.h"

#include "attribution/layer_value.h"
#include "network/attention.h"
#include "network/spatial.h"

/* The attentions that are meant, and the tokens that they mix. */
typedef struct blocks {
    spade_attention *all; /* owned */
    int first, count;     /* the ones that are meant */
    spade_spatial where;  /* the picture's pixels among the tokens */
    spade_reads reads;    /* of the tokens, behind the last block */
} blocks;

static const char *block_name(const spade_network *network, const spade_attention *attention)
{
    const spade_node *node = &network->nodes[attention->softmax];
    return node->path && *node->path ? node->path : node->name;
}

/* ---- tokens */

/* The last value with all tokens: what is read of it is read behind the last block. */
static bool find_tokens(const spade_network *network, const spade_spatial_map *map, int64_t tokens, blocks *out)
{
    for (int n = network->node_count - 1; n >= 0; n--) {
        const int value = network->nodes[n].outputs[0];
        const spade_reads *reads = &map->reads[value];
        const spade_spatial *where = &map->where[value];
        if (where->axis < 0 || !where->tokens || where->length != tokens) { continue; }
        if (!reads->pixels && !reads->extra) { continue; }
        out->where = *where;
        out->reads = *reads;
        return true;
    }
    return false;
}

/* All attentions mix the same tokens, whose pixels are known, and nothing else does. */
static spade_status check_tokens(const attribution_job *job, const blocks *b, int count)
{
    const spade_network *network = &job->model->network;
    for (int i = 0; i < count; i++) {
        const spade_attention *a = &b->all[i];
        if (a->queries == a->keys && a->keys == b->where.length) { continue; }
        return spade_fail(
            job->context, SPADE_ERROR_UNSUPPORTED,
            "attention \"%.200s\" is of %lld tokens to %lld, the picture has %lld: only networks whose blocks all "
            "mix all tokens have a rollout",
            block_name(network, a), (long long)a->queries, (long long)a->keys, (long long)b->where.length);
    }
    const int other = spade_other_product(network, b->all, count);
    if (other < 0) { return SPADE_OK; }
    return spade_fail(
        job->context, SPADE_ERROR_UNSUPPORTED,
        "node \"%.200s\" is a product of two values of the picture, but no part of a softmax(q k^T) v: how it "
        "mixes tokens is not known",
        network->nodes[other].name);
}

static spade_status find_all(const attribution_job *job, blocks *out, int *count)
{
    const spade_network *network = &job->model->network;
    spade_spatial_map map = {0};
    SPADE_TRY(spade_attentions_find(job->context, network, &out->all, count));
    if (*count == 0) {
        return spade_fail(job->context, SPADE_ERROR_UNSUPPORTED,
                          "the network has no attention: no softmax(q k^T) v among its nodes");
    }
    spade_status status = spade_spatial_find(job->context, network, &map);
    if (status == SPADE_OK && !find_tokens(network, &map, out->all[*count - 1].keys, out)) {
        const spade_attention *last = &out->all[*count - 1];
        status = spade_fail(
            job->context, SPADE_ERROR_UNSUPPORTED,
            "attention \"%.200s\" is of %lld tokens to %lld, which do not stand for the pixels of the picture",
            block_name(network, last), (long long)last->queries, (long long)last->keys);
    }
    spade_spatial_clear(&map);
    return status == SPADE_OK ? check_tokens(job, out, *count) : status;
}

/* ---- the blocks that are meant */

static bool is_number(const char *text)
{
    return *text && strlen(text) < 9 && strspn(text, "0123456789") == strlen(text);
}

static spade_status choose_block(const attribution_job *job, const spade_layer_option *block, int count, blocks *out)
{
    const spade_network *network = &job->model->network;
    out->first = 0;
    out->count = count;
    if (!block->name) { return SPADE_OK; }
    if (block->has_index) {
        return spade_fail(job->context, SPADE_ERROR_ARGUMENT, "block=%.200s:%lld: a head is head=%lld", block->name,
                          (long long)block->index, (long long)block->index);
    }
    out->count = 1;
    if (is_number(block->name)) {
        out->first = atoi(block->name);
        if (out->first < count) { return SPADE_OK; }
    }
    for (int i = 0; !is_number(block->name) && i < count; i++) {
        if (!attribution_lies_under(block_name(network, &out->all[i]), block->name)) { continue; }
        out->first = i;
        for (; out->first + out->count < count; out->count++) {
            const char *next = block_name(network, &out->all[out->first + out->count]);
            if (!attribution_lies_under(next, block->name)) { break; }
        }
        return SPADE_OK;
    }
    return spade_fail(job->context, SPADE_ERROR_ARGUMENT,
                      "block=%.200s: there are the blocks 0 to %d: %.200s to %.200s", block->name, count - 1,
                      block_name(network, &out->all[0]), block_name(network, &out->all[count - 1]));
}

static spade_status find_blocks(const attribution_job *job, const attention_options *options, blocks *out)
{
    int count;
    SPADE_TRY(find_all(job, out, &count));
    SPADE_TRY(choose_block(job, &options->block, count, out));
    for (int i = out->first; i < out->first + out->count; i++) {
        if (options->head < out->all[i].heads) { continue; }
        return spade_fail(job->context, SPADE_ERROR_ARGUMENT, "head=%lld: attention \"%.200s\" has the heads 0 to %lld",
                          (long long)options->head, block_name(&job->model->network, &out->all[i]),
                          (long long)out->all[i].heads - 1);
    }
    return SPADE_OK;
}

spade_status attention_check(const attribution_job *job, const void *options)
{
    blocks b = {0};
    spade_status status = find_blocks(job, options, &b);
    free(b.all);
    return status;
}

void attention_shape(const attribution_job *job, const void *options, int64_t shape[3])
{
    const attention_options *attention = options;
    blocks b = {0};
    (void)find_blocks(job, attention, &b); /* was checked */
    attribution_coarse_shape(job, b.where.height, b.where.width, attention->upsample, shape);
    free(b.all);
}

/* ---- the map */

typedef struct attention_job {
    const attribution_job *job;
    const blocks *blocks;
    const attention_options *options;
    bool gradients;
    attention_block_fn block;
    float *probabilities, *of_gradients; /* [heads, tokens, tokens] of one block */
    double *matrix;                      /* [tokens, tokens] */
    double *row, *next;                  /* [tokens] */
    float *small;                        /* [n, h, w] */
} attention_job;

/* What is read behind the last block: extra tokens that are read, with equal shares, or else all pixels. */
static void begin_row(const attention_job *a)
{
    const spade_spatial *where = &a->blocks->where;
    const int64_t pixels = where->height * where->width;
    double count = 0;
    for (int64_t t = 0; t < where->length; t++) {
        const bool is_pixel = t >= where->first && t < where->first + pixels;
        const int64_t number = t < where->first ? t : t - pixels;
        const bool is_read = !is_pixel && a->blocks->reads.extra >> (number < 63 ? number : 63) & 1;
        a->row[t] = is_read ? 1 : 0;
        count += a->row[t];
    }
    for (int64_t t = 0; count == 0 && t < pixels; t++) { a->row[where->first + t] = 1.0 / (double)pixels; }
    for (int64_t t = 0; count > 0 && t < where->length; t++) { a->row[t] /= count; }
}

/* row = row times matrix */
static void multiply_row(attention_job *a)
{
    const int64_t tokens = a->blocks->where.length;
    memset(a->next, 0, (size_t)tokens * sizeof *a->next);
    for (int64_t i = 0; i < tokens; i++) {
        for (int64_t j = 0; j < tokens; j++) { a->next[j] += a->row[i] * a->matrix[i * tokens + j]; }
    }
    double *row = a->row;
    a->row = a->next;
    a->next = row;
}

/* [heads, queries, keys] */
static void arrange(const spade_attention *attention, const float *value, const spade_shape *shape, float *to)
{
    const attribution_range queries = {attention->query_axis, 0, attention->queries};
    const attribution_range keys = {attention->key_axis, 0, attention->keys};
    attribution_arrange(value, shape, &queries, &keys, to);
}

static spade_status map_target(void *user, const attribution_inner *inner)
{
    attention_job *a = user;
    const blocks *b = a->blocks;
    const int64_t tokens = b->where.length, pixels = b->where.height * b->where.width, head = a->options->head;
    float *map = a->small + inner->target * pixels;
    begin_row(a);
    for (int i = b->count - 1; i >= 0; i--) {
        const spade_attention *attention = &b->all[b->first + i];
        const size_t skipped = head < 0 ? 0 : (size_t)(head * tokens * tokens);
        arrange(attention, inner->values[i], &inner->shapes[i], a->probabilities);
        if (a->gradients) { arrange(attention, inner->gradients[i], &inner->shapes[i], a->of_gradients); }
        SPADE_TRY(a->block(a->job, a->options, head < 0 ? attention->heads : 1, tokens, a->probabilities + skipped,
                           a->gradients ? a->of_gradients + skipped : NULL, a->matrix));
        multiply_row(a);
    }
    for (int64_t i = 0; i < pixels; i++) { map[i] = (float)a->row[b->where.first + i]; }
    return SPADE_OK;
}

/* Without gradients the maps of all targets are the same. */
static void repeat_map(const attention_job *a)
{
    const int64_t pixels = a->blocks->where.height * a->blocks->where.width;
    for (int i = 1; i < a->job->n; i++) { memcpy(a->small + i * pixels, a->small, (size_t)pixels * sizeof *a->small); }
}

static spade_status make_small(const attribution_job *job, const void *user, float *small)
{
    spade_status status = SPADE_OK;
    attention_job a = *(const attention_job *)user;
    const blocks *b = a.blocks;
    const size_t tokens = (size_t)b->where.length;
    size_t heads = 0, bytes = 0;
    void *memory = NULL;
    int *places = malloc(((size_t)b->count + 1) * sizeof *places);
    if (!places) { return spade_fail(job->context, SPADE_ERROR_MEMORY, "out of memory"); }
    for (int i = 0; i < b->count; i++) {
        const spade_attention *attention = &b->all[b->first + i];
        places[i] = attention->value;
        heads = (size_t)attention->heads > heads ? (size_t)attention->heads : heads;
    }
    bytes = (tokens * tokens + 2 * tokens) * sizeof(double) + 2 * heads * tokens * tokens * sizeof(float);
    SPADE_GOTO(spade_alloc(job->context, bytes, "attention of a block", &memory));
    a.small = small;
    a.matrix = memory;
    a.row = a.matrix + tokens * tokens;
    a.next = a.row + tokens;
    a.probabilities = (float *)(a.next + tokens);
    a.of_gradients = a.probabilities + heads * tokens * tokens;
    SPADE_GOTO(attribution_inner_values(job, places, b->count, a.gradients, SPADE_TO_INPUT, map_target, &a));
    if (!a.gradients) { repeat_map(&a); }
done:
    if (memory) { spade_free_bytes(job->context, memory, bytes); }
    free(places);
    return status;
}

spade_status attention_run(const attribution_job *job, const void *options, bool gradients, attention_block_fn block,
                           float *maps)
{
    const attention_options *attention = options;
    blocks b = {0};
    spade_status status = find_blocks(job, attention, &b);
    if (status == SPADE_OK) {
        const attention_job a = {
            .job = job, .blocks = &b, .options = attention, .gradients = gradients, .block = block};
        status = attribution_coarse_maps(job, b.where.height, b.where.width, attention->upsample, make_small, &a, maps);
    }
    free(b.all);
    return status;
}
