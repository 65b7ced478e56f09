/* merge_gallery.h - what a page of a store's gallery is made of. Private to workload/. */
#ifndef SPADE_WORKLOAD_MERGE_GALLERY_H
#define SPADE_WORKLOAD_MERGE_GALLERY_H

#include "base/fingerprint.h"
#include "report/html.h"
#include "store/database.h"
#include "store/map_decode.h"
#include "store/store.h"
#include "workload/manifest.h"

enum { GALLERY_PAGE = 24, GALLERY_NAME = 300 }; /* pictures of a page; of a class's name, cut */

/* A map, as the index has it. */
typedef struct gallery_map {
    int method; /* of the run */
    bool is_trace;
    spade_target target;
    char name[GALLERY_NAME], against[GALLERY_NAME], file[128];
    int64_t shard, offset, bytes;
    double scale;
    int zero;
    char metrics[2000]; /* "roc_auc 0.812, ..." */
} gallery_map;

typedef struct gallery_decision {
    int64_t class_index; /* below 0: there is none */
    char name[GALLERY_NAME];
    double score;
} gallery_decision;

typedef struct gallery_picture {
    int64_t row;
    char *image, *label; /* owned; label NULL: there is none */
    char content[SPADE_FINGERPRINT_SIZE];
    gallery_decision decisions[NETWORKS];
    gallery_map *maps; /* owned */
    int map_count;
    spade_picture picture; /* as the file has it; rgb NULL: it is not there any more, or another one */
} gallery_picture;

typedef struct gallery {
    spade_context *context;
    const spade_store *store;
    sqlite3 *database;
    spade_method_choice *methods; /* of all maps of the store */
    explained_run run;
    html_report report;          /* what html_parts.c asks of: the run */
    spade_preprocess preprocess; /* what networks saw of a picture; height 0: the store does not say */
    bool upright;
    char *root; /* what paths of pictures are relative to */
    spade_manifest
        manifest; /* of a store of tars, where they are as they were: pictures are in them; else of no rows */
    gallery_picture pictures[GALLERY_PAGE]; /* of the page at hand */
    int count;
    int64_t others;      /* pictures that are not what they were */
    int64_t missing;     /* that are not there, or cannot be read */
    char *first_missing; /* where one was looked for */
} gallery;

/* ---- merge_card.c: a picture's maps, drawn on what the network saw of it, or on grey where the file is gone */
/* What the squares of a card's head say; HTML. */
const char *gallery_key(const gallery *g);
/* What the network saw of the picture, as a small <img>; nothing where the file is gone. */
spade_status gallery_write_thumbnail(FILE *file, gallery *g, const gallery_picture *picture);
spade_status gallery_write_card(FILE *file, gallery *g, const gallery_picture *picture);

#endif
