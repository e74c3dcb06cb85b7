// Linked into the private jemalloc (see jemalloc.cmake).
#include <errno.h>
#include <stddef.h>
#include <sys/types.h>

// jemalloc's ways to options from outside lead here and find none: MALLOC_CONF and /etc/malloc.conf are meant for the
// jemalloc that the program may use itself.
char* dsm_je_no_getenv(const char* name) {
  (void)name;
  return NULL;
}

ssize_t dsm_je_no_readlink(const char* path, char* buffer, size_t size) {
  (void)path;
  (void)buffer;
  (void)size;
  errno = ENOENT;
  return -1;
}

// A hidden reference to a symbol makes it hidden in the object that both are linked into. public.inc, which
// jemalloc.cmake writes, has PUBLIC(f) for each; what a symbol is does not matter here.
#define PUBLIC(name) extern char dsm_je_##name[] __attribute__((visibility("hidden")));
#include "public.inc"
#undef PUBLIC
#define PUBLIC(name) dsm_je_##name,
__attribute__((used)) static const void* const dsm_je_hidden[] = {
#include "public.inc"
};
