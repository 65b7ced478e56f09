/* moves.c - see moves.h. */
#include "visualize/moves.h"

#include <math.h>

enum { BORDER = 12, FIRST_CUT = 8, LAST_CUT = 4, FULL_SIDE = 128, DRAWS = 6 };
static const double scale_range = 0.1, angle_range = 10 * 3.14159265358979323846 / 180;

/* Along one axis, in pixels of the picture. */
typedef struct cuts {
    double border, first_cut, last_cut; /* sizes */
    double first_place, last_place;     /* how much of the cuts goes away on the side of pixel 0 */
} cuts;

/*
 * Pixel i of the input, whose middle is at i + 1/2, lies at (i + 1/2) * shown / input size in what is shown. From there back:
 * the last cut, then turned and scaled around the centre of what the first one left, then the first one, then the border.
 */
static void compose(spade_warp_args *w, const cuts axes[2], double scale, double angle)
{
    const double turn[2][2] = {{cos(angle) / scale, sin(angle) / scale}, {-sin(angle) / scale, cos(angle) / scale}};
    const double size[2] = {(double)w->height, (double)w->width};
    const double out[2] = {(double)w->out_height, (double)w->out_width};
    double step[2], start[2], centre[2];
    for (int a = 0; a < 2; a++) {
        const double left = size[a] + 2 * axes[a].border - axes[a].first_cut;
        step[a] = (left - axes[a].last_cut) / out[a];
        centre[a] = left / 2;
        start[a] = 0.5 * step[a] + axes[a].last_place - centre[a];
    }
    for (int a = 0; a < 2; a++) {
        w->at[a][0] = turn[a][0] * step[0];
        w->at[a][1] = turn[a][1] * step[1];
        w->at[a][2] =
            turn[a][0] * start[0] + turn[a][1] * start[1] + centre[a] + axes[a].first_place - axes[a].border - 0.5;
    }
    const double determinant = w->at[0][0] * w->at[1][1] - w->at[0][1] * w->at[1][0];
    w->back[0][0] = w->at[1][1] / determinant;
    w->back[0][1] = -w->at[0][1] / determinant;
    w->back[1][0] = -w->at[1][0] / determinant;
    w->back[1][1] = w->at[0][0] / determinant;
}

void visualize_moves_none(spade_warp_args *warp)
{
    static const cuts none[2];
    compose(warp, none, 1, 0);
}

/* Whole pixels of `most`, from none to all. */
static double draw_place(double random, double most)
{
    return floor(random * (most + 1));
}

void visualize_moves_draw(uint64_t key, uint32_t step, spade_warp_args *warp)
{
    const uint32_t words[2] = {(uint32_t)key, (uint32_t)(key >> 32)};
    const double side = (double)(warp->height < warp->width ? warp->height : warp->width);
    const double share = side < FULL_SIDE ? side / FULL_SIDE : 1;
    double draws[DRAWS];
    cuts axes[2];
    for (uint32_t i = 0; i < DRAWS; i += 2) {
        uint32_t random[4];
        spade_philox(words, (const uint32_t[4]){step, i, 0, VISUALIZE_MOVES}, random);
        draws[i] = spade_uniform(random[0], random[1]);
        draws[i + 1] = spade_uniform(random[2], random[3]);
    }
    for (int a = 0; a < 2; a++) {
        axes[a].border = round(share * BORDER);
        axes[a].first_cut = round(share * FIRST_CUT);
        axes[a].last_cut = round(share * LAST_CUT);
        axes[a].first_place = draw_place(draws[a], axes[a].first_cut);
        axes[a].last_place = draw_place(draws[2 + a], axes[a].last_cut);
    }
    compose(warp, axes, 1 + scale_range * (2 * draws[4] - 1), angle_range * (2 * draws[5] - 1));
}
