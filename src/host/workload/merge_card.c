/* merge_card.c - a picture in a store's gallery: itself, its decisions and its maps; all in small, and in the page. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/text.h"
#include "report/text.h"
#include "store/shard.h"
#include "workload/map_picture.h"
#include "workload/merge_gallery.h"

enum { SIDE = 128, THUMBNAIL = 64, GREY = 96 };

static spade_status fail_memory(const gallery *g)
{
    return spade_fail(g->context, SPADE_ERROR_MEMORY, "%s/gallery: out of memory", g->store->folder);
}

/* ---- drawing */

/* most: pixels of its longer side. */
static spade_status write_tile(FILE *file, gallery *g, const spade_picture *picture, int64_t most, const char *text)
{
    const int64_t longer = picture->height > picture->width ? picture->height : picture->width;
    const int64_t side = longer < most ? longer : most;
    const int64_t height = (picture->height * side + longer / 2) / longer,
                  width = (picture->width * side + longer / 2) / longer;
    spade_picture small = {0};
    uint8_t *png;
    size_t size;
    SPADE_TRY(spade_picture_resize(g->context, picture, height > 0 ? height : 1, width > 0 ? width : 1, &small));
    const spade_status status = spade_png_encode(g->context, small.rgb, small.height, small.width, 3, &png, &size);
    spade_picture_clear(&small);
    SPADE_TRY(status);
    fputs("<img alt=\"", file);
    spade_html_text(file, text);
    fputs("\" src=\"data:image/png;base64,", file);
    spade_base64(file, png, size);
    fputs("\">", file);
    free(png);
    return SPADE_OK;
}

/* A map's bytes, from its shard. */
static spade_status read_map(gallery *g, const gallery_map *map, spade_stored_map *out)
{
    char *path = spade_store_path(g->context, g->store, map->shard, SPADE_SHARD_TAR);
    uint8_t *bytes = path ? malloc((size_t)map->bytes + 1) : NULL;
    spade_status status = SPADE_OK;
    const int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    *out = (spade_stored_map){0};
    if (!path || !bytes) { SPADE_GOTO(fail_memory(g)); }
    if (file < 0) { SPADE_GOTO(spade_fail(g->context, SPADE_ERROR_IO, "%s: %s", path, strerror(errno))); }
    for (int64_t done = 0; done < map->bytes;) {
        const ssize_t count = pread(file, bytes + done, (size_t)(map->bytes - done), (off_t)(map->offset + done));
        if (count < 0 && errno == EINTR) { continue; }
        if (count <= 0) { SPADE_GOTO(spade_fail(g->context, SPADE_ERROR_IO, "%s: cannot be read", path)); }
        done += count;
    }
    status = spade_stored_map_decode(g->context, map->file, bytes, (size_t)map->bytes, map->scale, map->zero, out);
done:
    if (file >= 0) { (void)close(file); }
    free(bytes);
    free(path);
    return status;
}

/* A map at the size of the picture. */
static spade_status reduce(gallery *g, const gallery_map *map, const spade_picture *on, float *out)
{
    spade_stored_map stored;
    SPADE_TRY(read_map(g, map, &stored));
    float *small = malloc(sizeof *small * (size_t)(stored.shape[1] * stored.shape[2]));
    if (small) {
        const map_picture_canvas canvas = {stored.shape, on->height, on->width, small};
        map_picture_reduce(&canvas, stored.data, explained_drawn(&g->run, map->method), out);
    }
    free(small);
    free(stored.data);
    return small ? SPADE_OK : fail_memory(g);
}

static spade_status write_map(FILE *file, gallery *g, const gallery_map *map, const spade_picture *on,
                              const float *reduced, double scale)
{
    char target[SPADE_TARGET_TEXT];
    spade_picture heatmap = {0};
    SPADE_TRY(spade_heatmap(g->context, on, reduced, scale, explained_signed(&g->run, map->method), &heatmap));
    fprintf(file, "<figure class=\"%s m%d\">", explained_networks[map->is_trace], map->method);
    const spade_status status = write_tile(file, g, &heatmap, SIDE, map->file);
    spade_picture_clear(&heatmap);
    SPADE_TRY(status);
    fprintf(file, "<figcaption><b>%s</b>", map->is_trace ? "Trace" : "Dense network");
    html_write_method(file, &g->methods[map->method]);
    fputs(" <span class=\"soft\">for ", file);
    spade_html_text(file,
                    spade_target_text(&map->target, map->name, map->target.contrast ? map->against : NULL, target));
    fputs("</span>", file);
    if (*map->metrics) {
        fputs("<br><span class=\"soft\">", file);
        spade_html_text(file, map->metrics);
        fputs("</span>", file);
    }
    fputs("</figcaption></figure>", file);
    return SPADE_OK;
}

static bool are_pair(const gallery_map *a, const gallery_map *b)
{
    return a->method == b->method && a->target.class_index == b->target.class_index &&
           a->target.contrast == b->target.contrast && a->target.against == b->target.against &&
           a->is_trace != b->is_trace;
}

/* The maps of a method and a target, one or two, which share a scale. */
static spade_status write_pair(FILE *file, gallery *g, const gallery_map *const maps[NETWORKS], int count,
                               const spade_picture *on)
{
    const int64_t pixels = on->height * on->width;
    const size_t bytes = sizeof(float) * (size_t)(pixels * count);
    void *memory;
    spade_status status = SPADE_OK;
    SPADE_TRY(spade_alloc(g->context, bytes, "maps of the gallery", &memory));
    float *reduced = memory;
    for (int i = 0; i < count; i++) { SPADE_GOTO(reduce(g, maps[i], on, reduced + i * pixels)); }
    const double scale = map_picture_scale(reduced, count * pixels);
    for (int i = 0; i < count; i++) { SPADE_GOTO(write_map(file, g, maps[i], on, reduced + i * pixels, scale)); }
done:
    spade_free_bytes(g->context, memory, bytes);
    return status;
}

static spade_status write_maps(FILE *file, gallery *g, const gallery_picture *picture, const spade_picture *on)
{
    for (int i = 0; i < picture->map_count; i++) {
        const gallery_map *maps[NETWORKS] = {&picture->maps[i], NULL};
        bool before = false;
        for (int k = 0; k < picture->map_count; k++) {
            if (!are_pair(&picture->maps[i], &picture->maps[k])) { continue; }
            before = before || k < i;
            maps[1] = maps[1] ? maps[1] : &picture->maps[k];
        }
        if (!before) { SPADE_TRY(write_pair(file, g, maps, maps[1] ? 2 : 1, on)); }
    }
    return SPADE_OK;
}

/* ---- what it is drawn on */

static spade_status make_grey(gallery *g, const gallery_picture *picture, spade_picture *out)
{
    spade_stored_map map = {.shape = {1, SIDE, SIDE}};
    if (picture->map_count) { SPADE_TRY(read_map(g, &picture->maps[0], &map)); }
    free(map.data);
    const bool coarse = map.shape[1] < SIDE / 2 || map.shape[2] < SIDE / 2;
    *out = (spade_picture){.height = coarse ? SIDE : map.shape[1], .width = coarse ? SIDE : map.shape[2]};
    out->rgb = malloc((size_t)(3 * out->height * out->width));
    if (!out->rgb) { return fail_memory(g); }
    memset(out->rgb, GREY, (size_t)(3 * out->height * out->width));
    return SPADE_OK;
}

/* *found: the picture is there. */
static spade_status make_canvas(gallery *g, const gallery_picture *picture, spade_picture *out, bool *found)
{
    const spade_preprocess *p = &g->preprocess;
    *out = (spade_picture){0};
    *found = false;
    if (picture->picture.rgb && p->height) {
        float *input = malloc(sizeof *input * (size_t)(3 * p->height * p->width));
        if (!input) { return fail_memory(g); }
        const spade_status status = spade_preprocess_apply(g->context, p, &picture->picture, input, out);
        free(input);
        if (status == SPADE_OK || status == SPADE_ERROR_MEMORY) {
            *found = status == SPADE_OK;
            return status;
        }
        spade_error_clear(g->context); /* it is another picture by now */
    }
    return make_grey(g, picture, out);
}

/* ---- the card */

#define DENSE_KEY "<span class=\"key d\"></span><span>the dense network's decision</span>"
#define TRACE_KEY "<span class=\"key t\"></span><span>the trace's decision</span>"

const char *gallery_key(const gallery *g)
{
    const json_t *networks = json_object_get(g->store->description, "networks");
    const char *first = json_string_value(json_array_get(networks, 0));
    const bool dense_only = !g->report.both && first && strcmp(first, explained_networks[DENSE]) == 0;
    return dense_only ? "<br>" DENSE_KEY : "<br>" DENSE_KEY " " TRACE_KEY;
}

static void write_decision(FILE *file, const gallery_picture *picture, int network)
{
    const gallery_decision *decision = &picture->decisions[network];
    if (decision->class_index < 0) { return; }
    fprintf(file, "<span class=\"%s\"><span class=\"key %c\"></span><b title=\"", explained_networks[network],
            network == DENSE ? 'd' : 't');
    spade_html_text(file, decision->name);
    fputs("\">", file);
    spade_html_text(file, decision->name);
    fprintf(file, "</b><span>%.1f %%</span></span>", 100 * decision->score);
}

static void write_head(FILE *file, const gallery_picture *picture)
{
    const char *slash = strrchr(picture->image, '/');
    const gallery_decision *dense = &picture->decisions[DENSE], *trace = &picture->decisions[TRACE];
    fprintf(file, "<section class=\"card shot\" id=\"r%lld\"><div class=\"head\"><h2>", (long long)picture->row);
    spade_html_text(file, slash && slash[1] ? slash + 1 : picture->image);
    fprintf(file, "</h2><span class=\"soft\">row %lld", (long long)picture->row);
    if (picture->label) {
        fputs(", label ", file);
        spade_html_text(file, picture->label);
    }
    fputs("</span>", file);
    if (dense->class_index >= 0 && trace->class_index >= 0 && dense->class_index != trace->class_index) {
        fputs("<span class=\"down\">another class</span>", file);
    }
    fputs("</div><div class=\"decisions\">", file);
    write_decision(file, picture, DENSE);
    write_decision(file, picture, TRACE);
    fputs("</div>", file);
}

spade_status gallery_write_thumbnail(FILE *file, gallery *g, const gallery_picture *picture)
{
    spade_picture canvas;
    bool found;
    SPADE_TRY(make_canvas(g, picture, &canvas, &found));
    const spade_status status = found ? write_tile(file, g, &canvas, THUMBNAIL, picture->image) : SPADE_OK;
    spade_picture_clear(&canvas);
    return status;
}

spade_status gallery_write_card(FILE *file, gallery *g, const gallery_picture *picture)
{
    spade_picture canvas;
    bool found;
    SPADE_TRY(make_canvas(g, picture, &canvas, &found));
    write_head(file, picture);
    fprintf(file, "<div class=\"tiles%s\"><figure>", g->report.both ? " pairs" : "");
    spade_status status = SPADE_OK;
    if (found) {
        status = write_tile(file, g, &canvas, SIDE, picture->image);
        fputs("<figcaption><b>Picture</b></figcaption>", file);
    } else {
        fputs("<figcaption class=\"soft\">The picture is not there, or another one: ", file);
        spade_html_text(file, picture->image);
        fputs("</figcaption>", file);
    }
    fputs("</figure>", file);
    if (status == SPADE_OK) { status = write_maps(file, g, picture, &canvas); }
    fputs("</div></section>\n", file);
    spade_picture_clear(&canvas);
    return status;
}
