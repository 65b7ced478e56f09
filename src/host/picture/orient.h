/* orient.h - pictures turned upright. */
#ifndef SPADE_PICTURE_ORIENT_H
#define SPADE_PICTURE_ORIENT_H

#include "base/base.h"
#include "spade/picture.h"

/* orientation: EXIF's number, 1 (upright) to 8; others are taken for 1. */
spade_status spade_orient(spade_context *context, int orientation, spade_picture *picture);

#endif
