/*
 * tar_stream.h - the members of a tar, one after the other, by libarchive: as written by tar, or compressed. Nothing of it is believed:
 * what is damaged, cut off or too much is one line that names the file, and memory holds only what is read.
 */
#ifndef SPADE_WORKLOAD_TAR_STREAM_H
#define SPADE_WORKLOAD_TAR_STREAM_H

#include <archive.h>

#include "workload/tar_list.h"

typedef struct spade_tar_member {
    const char *name;    /* until the next one */
    const char *special; /* "link", "folder", ...; NULL: a file */
    uint64_t size;
    uint64_t offset; /* of what belongs to it, in the tar (of a compressed one: in what it holds) */
} spade_tar_member;

typedef struct spade_tar_stream {
    spade_context *context;
    const spade_tar *tar;
    struct archive *archive;
    int file;
    uint64_t at, base; /* of the file: where it is read next, and where the stream begins */
    uint8_t *buffer;
    uint64_t ahead; /* up to here the system was asked to read ahead, in a scan */
    int64_t reads;
    size_t piece; /* bytes that are read at once, at most what the buffer holds */
    bool begun, compressed;
    char *last; /* the last member's name, for messages */
} spade_tar_stream;

/*
 * From this place on, 0 or where a member of a tar that is not compressed begins. scan: contents are passed over, not read.
 * SPADE_ERROR_INPUT: the file has not the size of tar->size any more.
 */
spade_status spade_tar_open(spade_context *context, const spade_tar *tar, uint64_t offset, bool scan,
                            spade_tar_stream **out);
/* The next member, at the place behind what was read of the last one; *there false: the tar's end. */
spade_status spade_tar_next(spade_tar_stream *stream, spade_tar_member *out, bool *there);
/* Some of the member's content, `size` bytes or what is left of them; *got: how many. */
spade_status spade_tar_read(spade_tar_stream *stream, void *to, size_t size, size_t *got);
/* All that is left of it, behind the *used bytes that *bytes (malloc'ed or NULL) holds; it is malloc'ed anew, and grows with what is there:
 * a header says anything. */
spade_status spade_tar_read_rest(spade_tar_stream *stream, uint8_t **bytes, size_t *used);
/* The archive ends without the zeros that mark its end: after spade_tar_next() said that there is nothing more. */
bool spade_tar_lacks_end(const spade_tar_stream *stream);
/* Something stands behind the mark of its end, as where tars were joined by `cat`. Of a compressed tar that is not seen. After
 * spade_tar_next() likewise. */
bool spade_tar_goes_on(const spade_tar_stream *stream);
void spade_tar_close(spade_tar_stream *stream); /* NULL is fine */

#endif
