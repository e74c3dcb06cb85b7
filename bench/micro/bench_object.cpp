// bench_object: object mode beside page mode and plain memory, in one run, over shm or with an emulated network.
#include "bench/micro/object_parts.h"

int main(int argc, char** argv) {
  using namespace dsm::bench;
  return object_bench("bench_object", "Object mode beside page mode and plain memory.",
                      {{"local", 2, local_borrows},
                       {"reads", 2, remote_reads},
                       {"write-1", 3, shared_writes},
                       {"write-3", 5, shared_writes},
                       {"write-7", 9, shared_writes},
                       {"false-sharing-2", 2, false_sharing},
                       {"false-sharing-4", 4, false_sharing},
                       {"false-sharing-8", 8, false_sharing}},
                      argc, argv);
}
