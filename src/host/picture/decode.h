/*
 * decode.h - pictures that are decoded while the caller does something else.
 *
 * What a helper process has decoded waits in the helper until it is asked for: until then it takes nothing of this
 * process, no thread is needed, and nothing happens in the context.
 */
#ifndef SPADE_DECODING_H
#define SPADE_DECODING_H

#include "base/base.h"
#include "base/fingerprint.h"
#include "spade/picture.h"

typedef struct spade_decode spade_decode;

/*
 * Start on n files, as many helpers as the context has threads. The lists [n] are those of spade_picture_load_many();
 * they and the paths are borrowed until the end. contents [n]: what is in the file, where it is in memory already and the path is but
 * a name; data NULL, or contents NULL: it is read. masks [n]: which files are decoded as spade_mask_load() does; NULL: none.
 * alpha: the others as spade_picture_load_alpha() does. A failure is every file's, and recorded for each; *decoding is NULL.
 * A file's status is SPADE_ERROR_IO where it is not the file's fault: spade_decoding_check().
 */
spade_status spade_decoding_begin(spade_context *context, const char *const *paths, const spade_mapping *contents,
                                  const bool *masks, bool alpha, int n, spade_picture *out, spade_status *statuses,
                                  char **messages, spade_decode **decoding);
/* Turn the pictures of this decoding as their EXIF orientation asks. Before spade_decoding_finish(). */
void spade_decoding_upright(spade_decode *decoding);
/* Of each file that is decoded, the fingerprint of the very bytes that were; out [n] is borrowed. Before spade_decoding_finish(). */
void spade_decoding_fingerprints(spade_decode *decoding, char (*out)[SPADE_FINGERPRINT_SIZE]);
/* Wait for all files, start on those that had no helper yet. Fills the lists, whose contents are the caller's. Once. */
void spade_decoding_finish(spade_decode *decoding);
/* After it: SPADE_ERROR_IO where no helper could be started, which is no picture's fault. */
spade_status spade_decoding_check(spade_context *context, const spade_status *statuses, char *const *messages, int n);
/* Kills the helpers that still run. NULL is fine. */
void spade_decoding_destroy(spade_decode *decoding);

#endif
