/*
 * target.h - what the fuzz targets share. A target is tests/fuzz/fuzz_NAME.c: one function that takes any bytes and does with
 * them what the library or the command would do. Three things count as findings, beside what the sanitizers see: an
 * internal error, a failure without one clear line, and memory that is still charged when all is released.
 *
 * Linked with libFuzzer (CMake option SPADE_FUZZ, clang) a target looks for such bytes; linked with replay.c it runs files.
 */
#ifndef SPADE_FUZZ_TARGET_H
#define SPADE_FUZZ_TARGET_H

#include "base/base.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Stop with the place and the text, as a sanitizer does. */
#define FUZZ_EXPECT(condition, text)                                                                                   \
    do {                                                                                                               \
        if (!(condition)) { fuzz_stop(__FILE__, __LINE__, text); }                                                     \
    } while (0)
__attribute__((noreturn)) void fuzz_stop(const char *file, int line, const char *text);

/* On the processor, one thread, and memory for nothing large. The same for each input, so that a finding does not depend on
 * those before it. */
spade_context *fuzz_context(void);
/* Everything has been released: nothing may be charged. */
void fuzz_context_end(spade_context *context);
/* Is it SPADE_OK? A failure has to be one line that says something. */
bool fuzz_worked(const spade_context *context, spade_status status);

/* The target's own folder, which goes with the process. */
const char *fuzz_folder(void);
/* The bytes as a file of that folder. The path is valid until the next call. */
const char *fuzz_file(const char *name, const void *bytes, size_t size);

#endif
