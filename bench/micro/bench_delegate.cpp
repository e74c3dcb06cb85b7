// bench_delegate: work that goes to the data, beside page mode and plain memory, in one run, over shm or with an
// emulated network.
#include "bench/micro/delegate_parts.h"

int main(int argc, char** argv) {
  using namespace dsm::bench;
  return object_bench("bench_delegate", "Work that goes to the data, beside page mode and plain memory.",
                      {{"posted", 2, random_updates},
                       {"waiting", 2, waiting_calls},
                       {"contended-4", 4, contended},
                       {"hand-over", 2, hand_over}},
                      argc, argv);
}
