/* As consumer.cpp, in C and alone: a block of the global heap is allocated, written, read and freed. */
#include <dsm/dsm_c.h>
#include <stdio.h>
#include <string.h>

int main(void) {
  int error = dsm_start();
  if (error != 0) {
    fprintf(stderr, "dsm_start: %s\n", strerror(error));
    return 1;
  }
  char* block = dsm_alloc(4096, 0, DSM_PLACE_LOCAL);
  if (block == NULL) return 2;
  strcpy(block, "written");
  int right = strcmp(block, "written") == 0 && dsm_home(block) == dsm_node();
  dsm_free(block);
  printf("consumer in C: node %u of %u\n", dsm_node(), dsm_nodes());
  return right ? 0 : 3;
}
