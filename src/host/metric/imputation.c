/*
 * imputation.c - the linear system of the missing pixels, by conjugate gradients.
 *
 * With w the weights of a pixel's neighbours inside of the picture: sum of w * u(pixel) - sum over missing neighbours of
 * w * u(neighbour) = sum over known neighbours of w * value. The matrix D - W is symmetric and, as something is known, positive
 * definite: conjugate gradients, with a symmetric sweep of over-relaxation (SSOR) as preconditioner, find its solution to 1e-7
 * of the right-hand side, in some dozens of steps where a tenth of a picture is missing and a few hundred where most of it is.
 */
#include "metric/imputation.h"

#include <math.h>
#include <string.h>

enum { NEIGHBOURS = 8, BEFORE = 4 }; /* the first four stand before the pixel, row by row */
static const struct {
    int dy, dx;
    double weight;
} neighbours[NEIGHBOURS] = {{-1, -1, 1.0 / 12}, {-1, 0, 1.0 / 6},  {-1, 1, 1.0 / 12}, {0, -1, 1.0 / 6},
                            {0, 1, 1.0 / 6},    {1, -1, 1.0 / 12}, {1, 0, 1.0 / 6},   {1, 1, 1.0 / 12}};
static const double relaxation = 1.8, tolerance = 1e-7;

/* The missing pixels are numbered, row by row. Vectors have n + 1 places: the last one, which is 0, is the neighbour that is
 * known or not there. */
typedef struct linear_system {
    int32_t n;
    int32_t *pixel;                                            /* [n] */
    int32_t *number;                                           /* [pixels]; -1: known */
    int32_t (*neighbour)[NEIGHBOURS];                          /* [n]: their numbers; n: none */
    double *diagonal;                                          /* [n] */
    double *solution, *residual, *direction, *product, *swept; /* [n + 1] */
} linear_system;

enum { VECTORS = 5 };

size_t imputation_bytes(int64_t pixels)
{
    const size_t n = (size_t)pixels;
    return n * (2 * sizeof(int32_t) + sizeof(int32_t[NEIGHBOURS]) + sizeof(double)) +
           VECTORS * (n + 1) * sizeof(double);
}

static void place(linear_system *s, int64_t pixels, void *scratch)
{
    s->diagonal = scratch;
    double *vectors = s->diagonal + pixels;
    double **const names[VECTORS] = {&s->solution, &s->residual, &s->direction, &s->product, &s->swept};
    for (int i = 0; i < VECTORS; i++) { *names[i] = vectors + i * (pixels + 1); }
    s->neighbour = (int32_t(*)[NEIGHBOURS])(vectors + VECTORS * (pixels + 1));
    s->pixel = (int32_t *)(s->neighbour + pixels);
    s->number = s->pixel + pixels;
}

static void build(linear_system *s, int64_t height, int64_t width, const uint8_t *keep)
{
    s->n = 0;
    for (int64_t i = 0; i < height * width; i++) {
        s->number[i] = keep[i] ? -1 : s->n;
        if (!keep[i]) { s->pixel[s->n++] = (int32_t)i; }
    }
    for (int32_t u = 0; u < s->n; u++) {
        const int64_t y = s->pixel[u] / width, x = s->pixel[u] % width;
        s->diagonal[u] = 0;
        for (int k = 0; k < NEIGHBOURS; k++) {
            const int64_t ny = y + neighbours[k].dy, nx = x + neighbours[k].dx;
            const bool inside = ny >= 0 && ny < height && nx >= 0 && nx < width;
            const int32_t number = inside ? s->number[ny * width + nx] : -1;
            s->neighbour[u][k] = number < 0 ? s->n : number;
            s->diagonal[u] += inside ? neighbours[k].weight : 0;
        }
    }
}

/* What the neighbours first .. end-1 of the missing pixel give. */
static double gather(const linear_system *s, int32_t u, int first, int end, const double *vector)
{
    double sum = 0;
    for (int k = first; k < end; k++) { sum += neighbours[k].weight * vector[s->neighbour[u][k]]; }
    return sum;
}

/* What the known neighbours give. */
static double known_part(const linear_system *s, int32_t u, const float *plane, int64_t height, int64_t width)
{
    const int64_t y = s->pixel[u] / width, x = s->pixel[u] % width;
    double sum = 0;
    for (int k = 0; k < NEIGHBOURS; k++) {
        const int64_t ny = y + neighbours[k].dy, nx = x + neighbours[k].dx;
        if (ny < 0 || ny >= height || nx < 0 || nx >= width || s->number[ny * width + nx] >= 0) { continue; }
        sum += neighbours[k].weight * (double)plane[ny * width + nx];
    }
    return sum;
}

static double dot(const linear_system *s, const double *a, const double *b)
{
    double sum = 0;
    for (int32_t u = 0; u < s->n; u++) { sum += a[u] * b[u]; }
    return sum;
}

/* swept = M^-1 residual, M the product of a sweep forth and one back; a factor does not matter. */
static void precondition(linear_system *s)
{
    double *z = s->swept;
    for (int32_t u = 0; u < s->n; u++) { z[u] = 0; }
    for (int32_t u = 0; u < s->n; u++) {
        z[u] = (s->residual[u] + relaxation * gather(s, u, 0, BEFORE, z)) / s->diagonal[u];
    }
    for (int32_t u = s->n - 1; u >= 0; u--) {
        z[u] += relaxation * gather(s, u, BEFORE, NEIGHBOURS, z) / s->diagonal[u];
    }
}

/* From the right-hand side in `residual` to `solution`. */
static bool solve(linear_system *s)
{
    const double enough = tolerance * tolerance * dot(s, s->residual, s->residual);
    const int64_t most = 100 + 10 * (int64_t)s->n;
    memset(s->solution, 0, sizeof(double) * (size_t)(s->n + 1));
    s->swept[s->n] = s->direction[s->n] = 0;
    precondition(s);
    memcpy(s->direction, s->swept, sizeof(double) * (size_t)s->n);
    double rho = dot(s, s->residual, s->swept);
    for (int64_t step = 0; dot(s, s->residual, s->residual) > enough; step++) {
        if (step == most) { return false; }
        for (int32_t u = 0; u < s->n; u++) {
            s->product[u] = s->diagonal[u] * s->direction[u] - gather(s, u, 0, NEIGHBOURS, s->direction);
        }
        const double length = rho / dot(s, s->direction, s->product);
        for (int32_t u = 0; u < s->n; u++) {
            s->solution[u] += length * s->direction[u];
            s->residual[u] -= length * s->product[u];
        }
        precondition(s);
        const double next = dot(s, s->residual, s->swept), share = next / rho;
        for (int32_t u = 0; u < s->n; u++) { s->direction[u] = s->swept[u] + share * s->direction[u]; }
        rho = next;
    }
    return true;
}

bool impute_linear(float *image, int64_t channels, int64_t height, int64_t width, const uint8_t *keep, void *scratch)
{
    const int64_t pixels = height * width;
    linear_system s;
    place(&s, pixels, scratch);
    build(&s, height, width, keep);
    if (s.n == pixels) { return false; }
    for (int64_t c = 0; c < channels; c++) {
        float *plane = image + c * pixels;
        for (int32_t u = 0; u < s.n; u++) { s.residual[u] = known_part(&s, u, plane, height, width); }
        if (!solve(&s)) { return false; }
        for (int32_t u = 0; u < s.n; u++) { plane[s.pixel[u]] = (float)s.solution[u]; }
    }
    return true;
}
