/* orient.c - turned and mirrored pixels, by EXIF's number of the orientation (EXIF 2.32, tag 0x0112). */
#include "picture/orient.h"

spade_status spade_orient(spade_context *context, int orientation, spade_picture *picture)
{
    const int64_t height = picture->height, width = picture->width;
    const bool turned = orientation >= 5; /* rows become columns */
    if (orientation < 2 || orientation > 8) { return SPADE_OK; }
    uint8_t *rgb = malloc((size_t)(height * width) * 3);
    uint8_t *alpha = picture->alpha ? malloc((size_t)(height * width)) : NULL;
    if (!rgb || (picture->alpha && !alpha)) {
        free(rgb);
        free(alpha);
        return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory: a picture turned upright");
    }
    const int64_t out_height = turned ? width : height, out_width = turned ? height : width;
    /* which of the file's rows and columns are counted from their end */
    const bool rows_back = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
    const bool columns_back = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
    for (int64_t y = 0; y < out_height; y++) {
        for (int64_t x = 0; x < out_width; x++) {
            int64_t row = turned ? x : y, column = turned ? y : x;
            row = rows_back ? height - 1 - row : row;
            column = columns_back ? width - 1 - column : column;
            memcpy(rgb + 3 * (y * out_width + x), picture->rgb + 3 * (row * width + column), 3);
            if (alpha) { alpha[y * out_width + x] = picture->alpha[row * width + column]; }
        }
    }
    free(picture->rgb);
    free(picture->alpha);
    *picture = (spade_picture){
        .height = out_height, .width = out_width, .rgb = rgb, .inexact = picture->inexact, .alpha = alpha};
    return SPADE_OK;
}
