/*
 * spade/version.h - the version of these headers. spade_version() (context.h) is that of the library in use.
 */
#ifndef SPADE_VERSION_H
#define SPADE_VERSION_H

/* The one place where it is written: CMakeLists.txt reads these three lines. */
#define SPADE_VERSION_MAJOR 0
#define SPADE_VERSION_MINOR 1
#define SPADE_VERSION_PATCH 0

/* "0.1.0" */
#define SPADE_VERSION_TEXT_OF(major, minor, patch) #major "." #minor "." #patch
#define SPADE_VERSION_TEXT(major, minor, patch) SPADE_VERSION_TEXT_OF(major, minor, patch)
#define SPADE_VERSION SPADE_VERSION_TEXT(SPADE_VERSION_MAJOR, SPADE_VERSION_MINOR, SPADE_VERSION_PATCH)

/* 1000000 * major + 1000 * minor + patch, to be compared: #if SPADE_VERSION_NUMBER >= 1000 (0.1.0) */
#define SPADE_VERSION_NUMBER (SPADE_VERSION_MAJOR * 1000000 + SPADE_VERSION_MINOR * 1000 + SPADE_VERSION_PATCH)

#endif
