/* check_picture.h - pictures of the maps of spade_check(): NAME/check_METHOD_STAGE.png in its folder. Private to workload/. */
#ifndef SPADE_WORKLOAD_CHECK_PICTURE_H
#define SPADE_WORKLOAD_CHECK_PICTURE_H

#include "report/record.h"
#include "workload/map_check.h"
#include "workload/pipeline.h"

typedef struct check_picture {
    const explained_run *run;
    int method; /* of the run */
    const workload_item *item;
    const int64_t *shape; /* [C, h, w] of the map */
    const char *target;   /* in file names; NULL: there is one only */
    int stage;            /* 0: the network's own */
} check_picture;

/* The input's folder in the run's; nothing where the run has none. *made: folders of the path that are new. */
spade_status check_picture_folder(const explained_run *run, const workload_item *item, int *made);
/* Remove the folder again, where nothing is in it, and those around it that are new. */
void check_picture_remove_folder(const explained_run *run, const workload_item *item, int made);
/* Remove the file of the picture, if it is there. */
void check_picture_remove(const check_picture *picture);
/* The map over its picture, with a scale of its own. *file: relative to the run's folder, malloc'ed. */
spade_status check_picture_draw(const check_picture *picture, const float *map, char **file);

#endif
