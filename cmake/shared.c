/*
 * libspade.so is the archives of all stages, taken whole; the build system wants one source file of its own.
 */
typedef int spade_shared_has_no_code_of_its_own;
