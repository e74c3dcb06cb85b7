/* libdsm for C. The same as <dsm/dsm.h>, which see for the contracts. Calls that can fail for the environment's
 * reasons return 0 or an errno value. None may be made from a signal handler. */
#ifndef DSM_DSM_C_H
#define DSM_DSM_C_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

int dsm_start(void);
void dsm_finish(void);
unsigned dsm_node(void);
unsigned dsm_nodes(void);

#define DSM_PLACE_LOCAL (-1)
#define DSM_PLACE_INTERLEAVED (-2) /* else: the number of a node */

void* dsm_alloc(size_t bytes, size_t alignment, int place);
void dsm_free(void* block);
void* dsm_realloc(void* block, size_t bytes);
size_t dsm_usable_size(const void* block);
unsigned dsm_home(const void* address);
void* dsm_alloc_collective(size_t bytes, int place);

int dsm_publish(const char* name, void* pointer);
void* dsm_lookup(const char* name, int64_t timeout_ms); /* negative: for ever */

enum { DSM_READ = 0, DSM_WRITE = 1 };
int dsm_prefetch(const void* address, size_t bytes, int access);
int dsm_release_pages(const void* address, size_t bytes);
int dsm_transfer_pages(const void* address, size_t bytes, unsigned node);

/* Synchronisation: objects in the global heap, made and destroyed by these calls. NULL if memory is used up. */
typedef struct dsm_mutex dsm_mutex;
dsm_mutex* dsm_mutex_create(void);
void dsm_mutex_destroy(dsm_mutex*);
void dsm_mutex_lock(dsm_mutex*);
int dsm_mutex_trylock(dsm_mutex*); /* 1: taken */
void dsm_mutex_unlock(dsm_mutex*);

typedef struct dsm_barrier dsm_barrier;
dsm_barrier* dsm_barrier_create(size_t parties);
void dsm_barrier_destroy(dsm_barrier*);
void dsm_barrier_wait(dsm_barrier*);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
