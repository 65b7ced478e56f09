/* fingerprint.c - XXH3-128 through the library xxHash. */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/fingerprint.h"

void spade_fingerprint(const spade_mapping *pieces, int count, char out[SPADE_FINGERPRINT_SIZE])
{
    XXH3_state_t state;
    XXH3_INITSTATE(&state);
    XXH3_128bits_reset(&state);
    for (int i = 0; i < count; i++) { XXH3_128bits_update(&state, pieces[i].data, pieces[i].size); }
    const XXH128_hash_t hash = XXH3_128bits_digest(&state);
    snprintf(out, SPADE_FINGERPRINT_SIZE, "%016llx%016llx", (unsigned long long)hash.high64,
             (unsigned long long)hash.low64);
}

spade_status spade_fingerprint_file(spade_context *context, const char *path, char out[SPADE_FINGERPRINT_SIZE])
{
    spade_mapping file;
    SPADE_TRY(spade_map_file(context, path, UINT64_MAX, &file));
    spade_fingerprint(&file, 1, out);
    spade_unmap(&file);
    return SPADE_OK;
}
