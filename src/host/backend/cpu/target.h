/* target.h - for functions compiled for AVX-512. GCC uses its whole width only where it is told to; clang knows no such
 * attribute, and takes the width that vectors in the source have. */
#ifndef SPADE_CPU_TARGET_H
#define SPADE_CPU_TARGET_H

#if defined(__clang__)
#define SPADE_AVX512 "avx512f"
#else
#define SPADE_AVX512 "avx512f,prefer-vector-width=512"
#endif

#endif
