// The job that faults are injected into: every kind of access for some rounds, with sums that must come out. Ends with
// "faults: right" and 0, with 3 if a sum is wrong, with 69 if the node does not start.
#include <dsm/dsm.h>
#include <dsm/hints.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <thread>

namespace {

constexpr unsigned kPages = 16;
constexpr std::size_t kLarge = std::size_t{6} << 20;  // more than the heap has in hand: chunks come and go

struct Object {
  std::uint64_t value, mirror;
};

struct Shared {
  dsm::barrier meet;
  dsm::mutex lock;
  std::uint64_t locked = 0;
  std::atomic<std::uint64_t>* counters[kPages];
  Object* object;
  void* to_free[64] = {};
  explicit Shared(unsigned nodes) : meet(nodes) {}
};

[[noreturn]] void wrong(const char* what, std::uint64_t found, std::uint64_t wanted) {
  std::fprintf(stderr, "faults: WRONG: %s is %llu and not %llu\n", what, static_cast<unsigned long long>(found),
               static_cast<unsigned long long>(wanted));
  std::_Exit(3);
}

template <typename T>
T* need(T* block) {
  if (block != nullptr) return block;
  std::fprintf(stderr, "faults: no memory is left in the heap\n");
  std::_Exit(69);
}

Shared* build() {
  auto* shared = need(dsm::make<Shared>(dsm::nodes()));
  for (unsigned i = 0; i < kPages; ++i) {
    void* page = need(dsm::alloc(4096, 4096, dsm::on_node(i % dsm::nodes())));
    shared->counters[i] = ::new (page) std::atomic<std::uint64_t>(0);
  }
  shared->object = ::new (need(dsm::alloc(sizeof(Object), 64))) Object{0, 0};
  return shared;
}

void work(Shared& shared, unsigned round) {
  for (auto* counter : shared.counters) counter->fetch_add(1);
  {
    const std::lock_guard guard(shared.lock);
    ++shared.locked;
  }
  {
    const auto held = dsm::borrow_mut(shared.object);
    if (held->value != held->mirror) wrong("an object's second half", held->mirror, held->value);
    held->mirror = ++held->value;
  }
  // Each node allocates at the next one, which frees what it finds.
  const unsigned next = (dsm::node() + 1) % dsm::nodes();
  shared.to_free[next] = need(dsm::alloc(100 + round * 8, 0, dsm::on_node(next)));
  auto* const large = static_cast<char*>(need(dsm::alloc(kLarge)));
  for (std::size_t at = 0; at < kLarge; at += kLarge / 8) large[at] = static_cast<char>(round);
  dsm::free(large);
  shared.meet.arrive_and_wait();
  dsm::free(shared.to_free[dsm::node()]);
  shared.meet.arrive_and_wait();
}

}  // namespace

int main(int argc, char** argv) {
  const unsigned rounds = argc > 1 ? static_cast<unsigned>(std::atoi(argv[1])) : 20;
  if (dsm::start()) return 69;
  if (dsm::node() == 0) (void)dsm::publish("shared", build());
  auto& shared = *static_cast<Shared*>(dsm::lookup("shared"));
  std::printf("node %u runs\n", dsm::node());
  std::fflush(stdout);
  std::thread([&] {
    for (unsigned round = 0; round < rounds; ++round) work(shared, round);
  }).join();
  const std::uint64_t all = std::uint64_t{rounds} * dsm::nodes();
  for (auto* counter : shared.counters) {
    if (*counter != all) wrong("a counter", *counter, all);
  }
  const auto seen = dsm::borrow_shared(shared.object);
  if (seen->value != all) wrong("an object", seen->value, all);
  if (shared.locked != all) wrong("what the lock guards", shared.locked, all);
  std::printf("faults: right\n");
}
