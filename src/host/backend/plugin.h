/*
 * plugin.h - a backend in a shared object of its own, so that the same program runs where its libraries are missing.
 */
#ifndef SPADE_PLUGIN_H
#define SPADE_PLUGIN_H

#include "backend/backend.h"

/* What the shared object exports: its table, or NULL where the caller was built from other sources (size: of the
 * table). */
typedef const spade_backend *(*spade_plugin_table_fn)(size_t size, const char *version);
#define SPADE_PLUGIN_SYMBOL "spade_plugin_table"

/*
 * The CUDA backend: spade-cuda.so from the file that the environment's SPADE_CUDA_LIBRARY names, else beside the build
 * or where spade is installed. NULL: there is none; why, in one line (for a person), in `why`. It stays loaded: the
 * driver does not take kindly to being unloaded.
 */
const spade_backend *spade_plugin_cuda(char *why, size_t size);

/*
 * Could there be a GPU for it? A driver shows its device files; a backend that the environment names is meant to be used.
 * Loading it costs some 260 MB of address space and a tenth of a second, which nobody pays who has no GPU.
 */
bool spade_plugin_wanted(void);
/* The file of the CUDA backend into `path`; false: there is none. */
bool spade_plugin_find(char *path, size_t size);

/* In the shared object itself. */
extern const spade_backend spade_backend_cuda;
const spade_backend *spade_plugin_table(size_t size, const char *version);

#endif
