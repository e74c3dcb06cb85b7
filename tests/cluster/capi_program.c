/* The C interface, used by a program on all nodes. Status 0 if all was as it should be. */
#include <dsm/dsm_c.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define EXPECT(condition)                                                                  \
  do {                                                                                     \
    if (!(condition)) {                                                                    \
      fprintf(stderr, "node %u: FAILED, line %d: %s\n", dsm_node(), __LINE__, #condition); \
      return 1;                                                                            \
    }                                                                                      \
  } while (0)

struct world {
  dsm_mutex* mutex;
  dsm_barrier* all;
  unsigned long counter;
};

static struct world* make_world(void) {
  struct world* world = dsm_alloc(sizeof *world, 0, DSM_PLACE_LOCAL);
  if (world == NULL) return NULL;
  world->mutex = dsm_mutex_create();
  world->all = dsm_barrier_create(dsm_nodes());
  world->counter = 0;
  return dsm_publish("world", world) == 0 ? world : NULL;
}

int main(void) {
  EXPECT(dsm_start() == 0);
  struct world* world = dsm_node() == 0 ? make_world() : dsm_lookup("world", -1);
  EXPECT(world != NULL && world->mutex != NULL && world->all != NULL);

  for (int round = 0; round < 100; ++round) {
    dsm_mutex_lock(world->mutex);
    ++world->counter;
    dsm_mutex_unlock(world->mutex);
  }
  dsm_barrier_wait(world->all);
  EXPECT(world->counter == 100UL * dsm_nodes());

  double* grid = dsm_alloc_collective(100000 * sizeof *grid, DSM_PLACE_INTERLEAVED);
  EXPECT(grid != NULL && grid[99999 - dsm_node()] == 0.0);
  dsm_barrier_wait(world->all);
  grid[dsm_node()] = 1.0;
  EXPECT(dsm_prefetch(grid, 100000 * sizeof *grid, DSM_READ) == 0);
  EXPECT(dsm_release_pages(grid, 4096) == 0);
  EXPECT(dsm_transfer_pages(grid, 4096, 0) == 0);
  dsm_barrier_wait(world->all);
  for (unsigned node = 0; node < dsm_nodes(); ++node) EXPECT(grid[node] == 1.0);

  char* text = dsm_alloc(10, 64, (int)(dsm_nodes() - 1));
  EXPECT(text != NULL && dsm_home(text) == dsm_nodes() - 1 && dsm_usable_size(text) >= 10);
  strcpy(text, "it stays");
  text = dsm_realloc(text, 100000);
  EXPECT(text != NULL && strcmp(text, "it stays") == 0 && dsm_home(text) == dsm_nodes() - 1);
  dsm_free(text);

  EXPECT(dsm_prefetch(&world, sizeof world, DSM_READ) == EINVAL);
  EXPECT(dsm_prefetch(grid, 8, 7) == EINVAL);
  EXPECT(dsm_publish(NULL, world) == EINVAL);
  EXPECT(dsm_lookup(NULL, 0) == NULL);
  EXPECT(dsm_alloc(8, 0, -3) == NULL);

  dsm_mutex* own = dsm_mutex_create();
  EXPECT(own != NULL && dsm_mutex_trylock(own) == 1 && dsm_mutex_trylock(own) == 0);
  dsm_mutex_unlock(own);
  dsm_mutex_destroy(own);
  dsm_barrier* alone = dsm_barrier_create(1);
  dsm_barrier_wait(alone);
  dsm_barrier_destroy(alone);
  dsm_finish();
  return 0;
}
