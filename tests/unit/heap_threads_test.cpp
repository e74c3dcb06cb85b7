// The heap under many threads, and at their ends.
#include <gtest/gtest.h>
#include <pthread.h>
#include <unistd.h>

#include <barrier>
#include <cstring>
#include <fstream>
#include <random>
#include <string>
#include <thread>

#include "base/tsan.h"
#include "heap/arena_births.h"
#include "heap_slice.h"

namespace dsm::heap {
namespace {

// A block and what must be in it.
struct Model {
  std::uint64_t* words = nullptr;
  std::size_t bytes = 0;
  std::uint64_t mark = 0;

  void write() const {
    for (std::size_t i = 0; i < bytes / 8; ++i) words[i] = mark + i;
  }
  void check(std::size_t upto) const {
    for (std::size_t i = 0; i < upto / 8; ++i)
      ASSERT_EQ(words[i], mark + i) << "word " << i << " of " << bytes << " bytes";
  }
};

// Threads exchange blocks through `shared`: about half are freed or resized by another thread than they came from.
class Shadow {
 public:
  explicit Shadow(TestHeap& heap) : heap_(heap), shared_(512) {}

  void run(std::uint64_t seed, int steps) {
    std::mt19937_64 random(seed);
    for (int step = 0; step < steps && !testing::Test::HasFatalFailure(); ++step) {
      Model model = swap(random() % shared_.size(), make(random));
      if (model.words == nullptr) continue;
      model.check(model.bytes);
      if (random() % 3 != 0) {
        heap_->release(model.words);
        continue;
      }
      resize(model, random);
      const Model other = swap(random() % shared_.size(), model);
      if (other.words == nullptr) continue;
      other.check(other.bytes);
      heap_->release(other.words);
    }
  }

  void finish() {
    for (Guarded& place : shared_) {
      if (place.model.words == nullptr) continue;
      place.model.check(place.model.bytes);
      heap_->release(place.model.words);
    }
  }

 private:
  struct Guarded {
    std::mutex mutex;
    Model model;
  };

  static std::size_t some_size(std::mt19937_64& random) {
    return 8 + random() % (std::size_t{1} << (4 + random() % 13));
  }

  Model swap(std::size_t index, const Model& model) {
    const std::scoped_lock locked(shared_[index].mutex);
    return std::exchange(shared_[index].model, model);
  }

  Model make(std::mt19937_64& random) {
    const std::size_t bytes = some_size(random);
    const bool zero = random() % 8 == 0;
    const std::size_t alignment = random() % 8 == 0 ? std::size_t{1} << random() % 13 : 0;
    void* block = heap_->allocate(bytes, alignment, kKinds[random() % 2], zero);
    const Model model{static_cast<std::uint64_t*>(block), bytes, random()};
    EXPECT_TRUE(block != nullptr && heap_.slice.holds(block, bytes));
    if (zero) {
      for (std::size_t i = 0; i < bytes / 8; ++i) EXPECT_EQ(model.words[i], 0U);
    }
    model.write();
    return model;
  }

  void resize(Model& model, std::mt19937_64& random) {
    const std::size_t bytes = some_size(random);
    void* block = heap_->resize(model.words, bytes);
    ASSERT_TRUE(block != nullptr && heap_.slice.holds(block, bytes));
    model.words = static_cast<std::uint64_t*>(block);
    model.check(std::min(model.bytes, bytes));
    model.bytes = bytes;
    model.write();
  }

  TestHeap& heap_;
  std::vector<Guarded> shared_;
};

TEST(HeapThreads, EightOfThemAgreeWithAShadowModel) {
  TestHeap heap(4 * kGiB);
  Shadow shadow(heap);
  std::vector<std::thread> threads;
  for (std::uint64_t seed = 0; seed < 8; ++seed) threads.emplace_back([&shadow, seed] { shadow.run(seed, 60'000); });
  for (auto& thread : threads) thread.join();
  shadow.finish();
}

// One thread allocates, another frees: memory goes back to the arena it came from and is used again.
TEST(HeapThreads, ProducerAndConsumerUseBoundedMemory) {
  for (const Kind kind : kKinds) {
    TestHeap heap(64 * kMiB, 2);
    std::barrier turn(2);
    std::vector<void*> blocks(1000);
    std::thread consumer([&] {
      for (int round = 0; round < 500; ++round) {
        turn.arrive_and_wait();
        for (void* block : blocks) heap->release(block);
        turn.arrive_and_wait();
      }
    });
    for (int round = 0; round < 500; ++round) {  // 500 MB in all
      for (void*& block : blocks) {
        block = heap->allocate(1000, 0, kind, false);
        EXPECT_NE(block, nullptr);
      }
      turn.arrive_and_wait();
      turn.arrive_and_wait();
    }
    consumer.join();
    EXPECT_LE(heap.slice.chunks_taken(), 16U);
  }
}

// What use_a_little() over and over may take: some 50 MiB for each arena, because jemalloc does not cut small slabs
// from large free extents (lg_extent_max_active_fit). One cache of a thousand that is not given back adds more.
constexpr std::uint64_t kFewChunks = 128;

void use_a_little(TestHeap& heap, int salt) {
  std::vector<void*> blocks;
  for (const Kind kind : kKinds) {
    for (std::size_t bytes = 16; bytes < 20'000; bytes += bytes / 4) {
      void* block = heap->allocate(bytes, 0, kind, false);
      ASSERT_TRUE(block != nullptr && heap.slice.holds(block, bytes));
      std::memset(block, salt, bytes);
      blocks.push_back(block);
    }
  }
  for (void* block : blocks) heap->release(block);
}

// More threads than jemalloc has explicit caches: they would run out if they were not given back.
TEST(HeapThreads, AtTheirEndGiveTheirCachesBack) {
  TestHeap heap(kGiB, 2);
  use_a_little(heap, 0);
  for (int i = 0; i < 5000; ++i) std::thread(use_a_little, std::ref(heap), i).join();
  EXPECT_LE(heap.slice.chunks_taken(), kFewChunks);
}

TEST(HeapThreads, ForgettenOnesGoOn) {
  TestHeap heap(256 * kMiB, 2);
  heap->forget_thread();  // has used nothing yet
  for (int i = 0; i < 5000; ++i) {
    use_a_little(heap, i);
    heap->forget_thread();
    if (i % 2 == 0) heap->forget_thread();
  }
  EXPECT_LE(heap.slice.chunks_taken(), kFewChunks);
}

TEST(HeapThreads, MayFreeWithoutEverAllocating) {
  TestHeap heap(256 * kMiB, 2);
  for (const Kind kind : kKinds) {
    for (int round = 0; round < 100; ++round) {
      std::vector<void*> blocks;
      for (int i = 0; i < 1000; ++i) blocks.push_back(heap->allocate(1000, 0, kind, false));
      std::thread([&] {
        for (void* block : blocks) {
          ASSERT_GE(heap->usable_size(block), 1000U);
          heap->release(block);
        }
      }).join();
    }
  }
  EXPECT_LE(heap.slice.chunks_taken(), 16U);
}

bool sleeps(pid_t thread) {
  std::ifstream file("/proc/self/task/" + std::to_string(thread) + "/stat");
  std::string text;
  std::getline(file, text);
  return text.substr(text.rfind(')') + 2, 1) == "S";
}

// jemalloc would unlock, behind the fork, what it has not locked before it.
TEST(HeapThreads, MakeNoArenaWhileAnotherForks) {
  TestHeap heap(256 * kMiB, 2);
  use_a_little(heap, 0);
  std::atomic<pid_t> thread{0};
  std::atomic<bool> done{false};
  stop_births();
  use_a_little(heap, 1);  // the forking thread itself may, for the handlers of others
  std::thread other([&] {
    thread = gettid();
    use_a_little(heap, 2);  // from the other slot: of all kinds
    done = true;
  });
  while (!done && (thread == 0 || !sleeps(thread))) std::this_thread::yield();
  for (int i = 0; i < 1000 && !done; ++i) std::this_thread::yield();
  EXPECT_FALSE(done);
  allow_births();
  other.join();
}

// Thread-specific data is destroyed in an order of its own, in up to PTHREAD_DESTRUCTOR_ITERATIONS rounds: some of it
// before the heap's and jemalloc's own, some after. All of it may allocate and free.
class LateUser {
 public:
  explicit LateUser(TestHeap& heap) : heap_(heap) {}

  void use() {
    ++uses;
    check(heap_->allocate(100, 0, Kind::kRaw, false), 100, false);
    check(heap_->allocate(0, 0, Kind::kRaw, false), 0, false);
    check(heap_->allocate(8, 8, Kind::kRaw, true), 8, true);
    check(heap_->allocate(5000, 4096, Kind::kRaw, true), 5000, true);
    check(heap_->allocate(300'000, 0, Kind::kRaw, true), 300'000, true);
    check(heap_->allocate(100, 64, Kind::kObject, true), 100, true);
    check(heap_->allocate(100'000, 0, Kind::kObject, false), 100'000, false);
    void* grown = heap_->allocate(40, 0, kKinds[uses % 2], false);
    std::memset(grown, 7, 40);
    grown = heap_->resize(grown, 4000);
    EXPECT_EQ(static_cast<char*>(grown)[39], 7);
    check(grown, 4000, false);
  }

  int uses = 0;

 private:
  void check(void* block, std::size_t bytes, bool zero) {
    ASSERT_NE(block, nullptr);
    ASSERT_TRUE(heap_.slice.holds(block, bytes)) << bytes << " bytes, use " << uses;
    for (std::size_t i = 0; zero && i < bytes; ++i) ASSERT_EQ(static_cast<char*>(block)[i], 0);
    std::memset(block, 0xee, bytes);
    heap_->release(block);
  }

  TestHeap& heap_;
};

struct LateKey {
  LateKey() { EXPECT_EQ(pthread_key_create(&key, ends), 0); }
  ~LateKey() { pthread_key_delete(key); }
  static void ends(void* value) {
    auto* user = static_cast<LateUser*>(value);
    user->use();
    EXPECT_EQ(pthread_setspecific(last, value), 0);
  }
  pthread_key_t key{};
  static inline pthread_key_t last{};
};

TEST(HeapThreads, MayAllocateWhileTheyEnd) {
  if (kThreadSanitizer) GTEST_SKIP() << "ThreadSanitizer forgets a thread before the last of its data is destroyed";
  LateKey before;  // a lower number than the heap's key: destroyed earlier in a round
  TestHeap heap(kGiB, 2);
  LateKey after;
  LateKey::last = after.key;
  for (const bool used_before : {true, false}) {
    for (const pthread_key_t key : {before.key, after.key}) {
      LateUser user(heap);
      std::thread([&] {
        if (used_before) user.use();
        EXPECT_EQ(pthread_setspecific(key, &user), 0);
      }).join();
      EXPECT_GE(user.uses, 3);
    }
  }
  for (int i = 0; i < 100; ++i) {
    LateUser user(heap);
    std::thread([&] {
      user.use();
      EXPECT_EQ(pthread_setspecific(after.key, &user), 0);
    }).join();
  }
  EXPECT_LE(heap.slice.chunks_taken(), kFewChunks);
}

}  // namespace
}  // namespace dsm::heap
