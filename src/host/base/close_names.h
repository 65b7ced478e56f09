/* close_names.h - which of some names are the closest to one that is none of them: for messages. */
#ifndef SPADE_BASE_CLOSE_NAMES_H
#define SPADE_BASE_CLOSE_NAMES_H

enum { SPADE_CLOSE_NAMES = 5, SPADE_CLOSE_NAME_LENGTH = 120 };
enum { SPADE_CLOSE_NAMES_BYTES = 32 + SPADE_CLOSE_NAMES * (SPADE_CLOSE_NAME_LENGTH + 2) };

typedef struct spade_close_name {
    const char *text; /* borrowed */
    int length, distance;
} spade_close_name;

typedef struct spade_close_names {
    const char *wanted; /* borrowed */
    spade_close_name items[SPADE_CLOSE_NAMES];
    int count;
} spade_close_names;

void spade_close_names_begin(spade_close_names *names, const char *wanted);
/* The name is kept if it is one of the closest, and not there yet. Longer ones than SPADE_CLOSE_NAME_LENGTH are not; NULL is
 * fine. */
void spade_close_names_offer(spade_close_names *names, const char *name);
/* The name, and the modules that it lies in: "layer4.1.conv1", "layer4.1", "layer4". */
void spade_close_names_offer_modules(spade_close_names *names, const char *name);
/* "; close to it: layer4.1, layer4.0", the closest first; "" where nothing was offered. Returns the buffer. */
const char *spade_close_names_format(const spade_close_names *names, char buffer[SPADE_CLOSE_NAMES_BYTES]);

#endif
