// Uses a synchronisation object wrongly, in the way the argument names, in a job of one node. Must not get to its end.
#include <cstdint>
#include <cstring>
#include <mutex>

#include "tests/cluster/sync_world.h"

namespace dsm::sync_test {
namespace {

struct Case {
  const char* name;
  void (*run)();
};

void copied() {
  auto* mutex = dsm::make<dsm::mutex>();
  void* copy = dsm::alloc(sizeof(dsm::mutex));
  std::memcpy(copy, static_cast<void*>(mutex), sizeof(dsm::mutex));
  static_cast<dsm::mutex*>(copy)->lock();
}

void never_constructed() {
  void* zeroes = dsm::alloc(sizeof(dsm::mutex));
  std::memset(zeroes, 0, sizeof(dsm::mutex));
  static_cast<dsm::mutex*>(zeroes)->lock();
}

void destroyed() {
  auto* semaphore = dsm::make<dsm::counting_semaphore>(1);
  semaphore->~counting_semaphore();
  semaphore->acquire();
}

void destroyed_twice() {
  auto* mutex = dsm::make<dsm::mutex>();
  mutex->~mutex();
  mutex->~mutex();
}

void destroyed_held() {
  auto* mutex = dsm::make<dsm::mutex>();
  mutex->lock();
  dsm::destroy(mutex);
}

void destroyed_waited_on() {
  auto* semaphore = dsm::make<dsm::counting_semaphore>(1);
  auto* condition = dsm::make<dsm::condition_variable>();
  auto* mutex = dsm::make<dsm::mutex>();
  semaphore->acquire();
  std::thread([=] {
    std::unique_lock lock(*mutex);
    semaphore->release();  // whoever locks after this finds us waiting
    condition->wait(lock);
  }).detach();
  semaphore->acquire();
  mutex->lock();
  dsm::destroy(condition);
}

void outside_the_heap() { dsm::mutex on_the_stack; }

void unlocked_unheld() { dsm::make<dsm::mutex>()->unlock(); }
void unlocked_shared_unheld() { dsm::make<dsm::shared_mutex>()->unlock_shared(); }

void unlocked_by_another_thread() {
  auto* mutex = dsm::make<dsm::mutex>();
  mutex->lock();
  std::thread([=] { mutex->unlock(); }).join();
}

void locked_twice() {
  auto* mutex = dsm::make<dsm::mutex>();
  mutex->lock();
  mutex->lock();
}

void waited_unlocked() {
  std::unique_lock lock(*dsm::make<dsm::mutex>(), std::defer_lock);
  dsm::make<dsm::condition_variable>()->wait(lock);
}

void no_parties() { static_cast<void>(dsm::make<dsm::barrier>(std::size_t{0})); }
void negative_initial() { static_cast<void>(dsm::make<dsm::counting_semaphore>(-1)); }
void negative_release() { dsm::make<dsm::counting_semaphore>(1)->release(-1); }

constexpr Case kCases[] = {
    {"copied", copied},
    {"never_constructed", never_constructed},
    {"destroyed", destroyed},
    {"destroyed_twice", destroyed_twice},
    {"destroyed_held", destroyed_held},
    {"destroyed_waited_on", destroyed_waited_on},
    {"outside_the_heap", outside_the_heap},
    {"unlocked_unheld", unlocked_unheld},
    {"unlocked_shared_unheld", unlocked_shared_unheld},
    {"unlocked_by_another_thread", unlocked_by_another_thread},
    {"locked_twice", locked_twice},
    {"waited_unlocked", waited_unlocked},
    {"no_parties", no_parties},
    {"negative_initial", negative_initial},
    {"negative_release", negative_release},
};

int run(const char* name) {
  if (std::strcmp(name, "not_started") == 0) {
    dsm::mutex too_early;
    return 0;
  }
  if (dsm::start()) return 2;
  for (const Case& wrong : kCases) {
    if (std::strcmp(wrong.name, name) != 0) continue;
    wrong.run();
    return 0;
  }
  return 2;
}

}  // namespace
}  // namespace dsm::sync_test

int main(int argc, char** argv) { return argc == 2 ? dsm::sync_test::run(argv[1]) : 2; }
