/*
 * spade/status.h - result codes of every spade function that can fail.
 *
 * A function returns SPADE_OK or one of the codes below; the one-line message that goes with a failure (which file,
 * node or layer, what was wrong, what the limit is) is kept by the context: spade_message(). Output arguments are only
 * defined after SPADE_OK.
 */
#ifndef SPADE_STATUS_H
#define SPADE_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

#if defined(SPADE_BUILD)
#define SPADE_API __attribute__((visibility("default")))
#else
#define SPADE_API
#endif

typedef enum spade_status {
    SPADE_OK = 0,
    SPADE_ERROR_ARGUMENT, /* the caller passed something impossible (a sparsity of 1.5, a layer that does not exist) */
    SPADE_ERROR_INPUT,    /* a model, picture, array or configuration is malformed or beyond a limit */
    SPADE_ERROR_UNSUPPORTED, /* well-formed, but not something spade can compute; the message names the operator and
                                node */
    SPADE_ERROR_MEMORY,      /* the system or the byte budget ran out; the message says how much would do */
    SPADE_ERROR_NUMERICAL,   /* a Hessian is not positive definite, a map is not finite */
    SPADE_ERROR_IO,          /* the operating system refused to read, write or start something */
    SPADE_ERROR_DEVICE,      /* the device is missing or was lost */
    SPADE_ERROR_INTERNAL     /* a fault in spade itself or in a library it uses */
} spade_status;

/* "bad input", "out of memory", ...: the code in two words, for logs. Never NULL. */
SPADE_API const char *spade_status_name(spade_status status);

#ifdef __cplusplus
}
#endif
#endif
