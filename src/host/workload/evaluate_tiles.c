/* evaluate_tiles.c - a picture of the gallery in small: itself with the outline of its mask, and the maps of a method, dense and
 * trace, which share one scale as they do in explain. */
#include "base/base.h"
#include "workload/evaluate.h"
#include "workload/map_picture.h"

enum { SIDE = 128 }; /* of a tile, the longer one: as large as the report shows it */

static spade_status fail_memory(const evaluate_job *job)
{
    return spade_fail(job->context, SPADE_ERROR_MEMORY, "out of memory: the gallery");
}

/* A row more. It is a power of two that there is room for. */
static spade_status append(const evaluate_job *job, gallery_tiles *tiles, const gallery_tile *tile)
{
    const int n = tiles->count;
    if ((n & (n - 1)) == 0) {
        gallery_tile *items = realloc(tiles->items, sizeof *items * (n ? 2 * (size_t)n : 1));
        if (!items) { return fail_memory(job); }
        tiles->items = items;
    }
    tiles->items[tiles->count++] = *tile;
    return SPADE_OK;
}

/* The picture in small, behind the others. `tile` says of what it is. mask NULL: without an outline. */
static spade_status add_tile(const evaluate_job *job, const spade_picture *small, gallery_tile tile,
                             gallery_tiles *tiles)
{
    uint8_t *png;
    SPADE_TRY(spade_png_encode(job->context, small->rgb, small->height, small->width, 3, &png, &tile.size));
    tile.png = png;
    const spade_status status = append(job, tiles, &tile);
    if (status != SPADE_OK) { free(png); }
    return status;
}

static spade_status shrink(const evaluate_job *job, const spade_picture *picture, spade_picture *out)
{
    const int64_t longer = picture->height > picture->width ? picture->height : picture->width;
    const int64_t height = (picture->height * SIDE + longer / 2) / longer,
                  width = (picture->width * SIDE + longer / 2) / longer;
    return spade_picture_resize(job->context, picture, height > 0 ? height : 1, width > 0 ? width : 1, out);
}

/* ---- the picture */

typedef struct small_mask {
    const uint8_t *mask; /* [height, width] */
    int64_t height, width;
    const spade_picture *picture;
} small_mask;

/* Is the tile's pixel inside? What lies beyond the picture is not. */
static bool is_inside(const small_mask *m, int64_t y, int64_t x)
{
    if (y < 0 || x < 0 || y >= m->picture->height || x >= m->picture->width) { return false; }
    return m->mask[(2 * y + 1) * m->height / (2 * m->picture->height) * m->width +
                   (2 * x + 1) * m->width / (2 * m->picture->width)] != 0;
}

/* White just inside, black just outside: it is seen on every background. */
static void draw_outline(const small_mask *m)
{
    for (int64_t y = 0; y < m->picture->height; y++) {
        for (int64_t x = 0; x < m->picture->width; x++) {
            const bool inside = is_inside(m, y, x);
            if (is_inside(m, y - 1, x) == inside && is_inside(m, y + 1, x) == inside &&
                is_inside(m, y, x - 1) == inside && is_inside(m, y, x + 1) == inside) {
                continue;
            }
            memset(m->picture->rgb + 3 * (y * m->picture->width + x), inside ? 255 : 0, 3);
        }
    }
}

spade_status evaluate_draw_picture(const evaluate_job *job, const workload_item *item, gallery_tiles *tiles)
{
    const spade_image_item *image = item->image;
    spade_picture small = {0};
    SPADE_TRY(shrink(job, &image->preview, &small));
    if (image->mask) { draw_outline(&(small_mask){image->mask, image->preview.height, image->preview.width, &small}); }
    const spade_status status =
        add_tile(job, &small, (gallery_tile){.method = GALLERY_PICTURE, .column = GALLERY_PICTURE}, tiles);
    spade_picture_clear(&small);
    return status;
}

/* ---- maps */

static spade_status draw_map(const evaluate_job *job, const workload_item *item, const float *reduced, double scale,
                             gallery_tile tile, gallery_tiles *tiles)
{
    spade_picture heatmap = {0}, small = {0};
    spade_status status;
    SPADE_TRY(spade_heatmap(job->context, &item->image->preview, reduced, scale,
                            explained_signed(&job->run, tile.method), &heatmap));
    SPADE_GOTO(shrink(job, &heatmap, &small));
    status = add_tile(job, &small, tile, tiles);
done:
    spade_picture_clear(&heatmap);
    spade_picture_clear(&small);
    return status;
}

spade_status evaluate_draw_pair(const evaluate_job *job, const workload_item *item, const float *maps,
                                const int64_t shape[3], int method, int column, gallery_tiles *tiles)
{
    const int64_t plane = shape[1] * shape[2], pixels = job->preprocess.height * job->preprocess.width;
    const int networks = column ? NETWORKS : 1;
    const size_t bytes = sizeof(float) * (size_t)(NETWORKS * pixels + plane);
    void *memory;
    spade_status status = SPADE_OK;
    SPADE_TRY(spade_alloc(job->context, bytes, "maps of the gallery", &memory));
    float *reduced = memory;
    const map_picture_canvas canvas = {shape, job->preprocess.height, job->preprocess.width,
                                       reduced + NETWORKS * pixels};
    for (int network = 0; network < networks; network++) {
        map_picture_reduce(&canvas, maps + (network == TRACE ? column : 0) * shape[0] * plane,
                           explained_drawn(&job->run, method), reduced + network * pixels);
    }
    const double scale = map_picture_scale(reduced, networks * pixels);
    for (int network = 0; network < networks; network++) {
        const gallery_tile tile = {.method = method, .column = column, .network = network};
        SPADE_GOTO(draw_map(job, item, reduced + network * pixels, scale, tile, tiles));
    }
done:
    spade_free_bytes(job->context, memory, bytes);
    return status;
}
