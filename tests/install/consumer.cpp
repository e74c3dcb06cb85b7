// Uses an installed libdsm: joins the job, finds node 0's counter by name, and every node adds one to it.
#include <dsm/dsm.h>

#include <atomic>
#include <cstdio>

int main() {
  if (const std::error_code error = dsm::start()) {
    std::fprintf(stderr, "start: %s\n", error.message().c_str());
    return 1;
  }
  auto* counter = static_cast<std::atomic<unsigned>*>(dsm::alloc_collective(sizeof(std::atomic<unsigned>)));
  if (counter == nullptr) return 2;
  counter->fetch_add(1);
  while (counter->load() < dsm::nodes()) {
  }
  std::printf("consumer %u of %u: counted %u\n", dsm::node(), dsm::nodes(), counter->load());
  return 0;
}
