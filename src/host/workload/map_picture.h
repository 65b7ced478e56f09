/* map_picture.h - from a map to its picture, as explain and check draw it. Private to workload/. */
#ifndef SPADE_WORKLOAD_MAP_PICTURE_H
#define SPADE_WORKLOAD_MAP_PICTURE_H

#include "report/record.h"

/* What a map is drawn on. */
typedef struct map_picture_canvas {
    const int64_t *shape;  /* [C, h, w] of the map: the picture's height and width, or smaller */
    int64_t height, width; /* of the picture */
    float *small;          /* [h * w] of room */
} map_picture_canvas;

/* out [height * width]: one number for each pixel of the picture; a smaller map is enlarged. */
void map_picture_reduce(const map_picture_canvas *canvas, const float *map, spade_reduce how, float *out);
/* The value at full colour of a reduced map, or of several that stand one after the other and share it. Above 0. */
double map_picture_scale(const float *reduced, int64_t n);
/* Write a picture as PNG, relative to the run's folder. */
spade_status map_picture_save(const explained_run *run, const spade_picture *picture, const char *relative);
/* Remove it, if it is there; NULL is fine. */
void map_picture_remove(const explained_run *run, const char *relative);

#endif
