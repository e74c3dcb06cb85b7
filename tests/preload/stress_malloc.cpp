// Threads allocate, resize and free, and hand blocks to each other, against a shadow of what each block must hold:
// size, content, alignment, and by the content that no two blocks overlap. Knows nothing of libdsm; run it on any
// allocator. Says every ten seconds how far it is; the first difference ends it with the line that saw it.
#include <malloc.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstring>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "check.h"

namespace {

struct Options {
  double seconds = 10;
  unsigned threads = 16;
  std::uint64_t seed = 1;
};

struct Block {
  unsigned char* bytes = nullptr;
  std::size_t size = 0;
  std::size_t alignment = 1;
  unsigned char mark = 0;

  // Every byte of a small block, the first and last of each 512 of a large one.
  template <typename Use>
  void for_bytes(std::size_t upto, Use use) const {
    const std::size_t step = size > 8192 ? 511 : 1;
    for (std::size_t i = 0; i < upto; i += step) use(i, static_cast<unsigned char>(mark + i * 7));
    if (upto != 0) use(upto - 1, static_cast<unsigned char>(mark + (upto - 1) * 7));
  }
  void fill() const {
    for_bytes(size, [this](std::size_t i, unsigned char value) { bytes[i] = value; });
  }
  void check() const {
    REQUIRE(reinterpret_cast<std::uintptr_t>(bytes) % alignment == 0);
    REQUIRE(malloc_usable_size(bytes) >= size);
    for_bytes(size, [this](std::size_t i, unsigned char value) { REQUIRE(bytes[i] == value); });
  }
};

struct Shelf {
  std::mutex mutex;
  Block block;
};
std::array<Shelf, 1024> shelves;
std::atomic<bool> stop{false};
constexpr std::uint64_t kStepsOfALife = 100'000;
constexpr std::uint64_t kStepsAtOnce = 1000;  // that are told of
constexpr std::chrono::seconds kProgressEvery(10);

// What all threads have done.
struct Tally {
  std::atomic<std::uint64_t> made{0}, resized{0}, freed{0}, handed_over{0}, bytes{0};
} tally;

class Worker {
 public:
  explicit Worker(std::uint64_t seed) : random_(seed) {}

  void run() {
    std::uint64_t done = 0;
    while (done < kStepsOfALife && !stop.load(std::memory_order_relaxed)) {
      Block& block = own_[random_() % own_.size()];
      step(block);
      if (++done % 8 == 0) {
        Shelf& shelf = shelves[random_() % shelves.size()];
        const std::scoped_lock locked(shelf.mutex);
        std::swap(block, shelf.block);
        ++own_tally_.handed_over;
      }
      if (done % kStepsAtOnce == 0) tell();
    }
    for (Block& block : own_) drop(block);
    tell();
  }

 private:
  struct OwnTally {
    std::uint64_t made = 0, resized = 0, freed = 0, handed_over = 0, bytes = 0;
  };

  void tell() {
    tally.made += own_tally_.made;
    tally.resized += own_tally_.resized;
    tally.freed += own_tally_.freed;
    tally.handed_over += own_tally_.handed_over;
    tally.bytes += own_tally_.bytes;
    own_tally_ = {};
  }

  void step(Block& block) {
    if (block.bytes == nullptr) return make(block);
    if (random_() % 4 != 0) return drop(block);
    block.check();
    resize(block);
  }

  std::size_t some_size() {
    const std::uint64_t kind = random_() % 1000;
    if (kind == 0) return random_() % (4 << 20);
    if (kind < 50) return random_() % (64 << 10);
    return random_() % 1024;
  }

  void make(Block& block) {
    block.size = some_size();
    block.alignment = 1;
    block.mark = static_cast<unsigned char>(random_());
    void* made = nullptr;
    switch (random_() % 8) {
      case 0:
        made = std::calloc(1, block.size);
        for (std::size_t i = 0; i < block.size; ++i) REQUIRE(static_cast<char*>(made)[i] == 0);
        break;
      case 1:
        block.alignment = std::size_t{8} << random_() % 10;
        REQUIRE(posix_memalign(&made, block.alignment, block.size) == 0);
        break;
      case 2:
        made = ::operator new(block.size);
        break;
      default:
        made = std::malloc(block.size);
    }
    REQUIRE(made != nullptr);
    block.bytes = static_cast<unsigned char*>(made);
    block.fill();
    ++own_tally_.made;
    own_tally_.bytes += block.size;
  }

  void resize(Block& block) {
    const std::size_t size = some_size() + 1;
    auto* moved = static_cast<unsigned char*>(std::realloc(block.bytes, size));
    REQUIRE(moved != nullptr);
    const Block old{moved, block.size, 1, block.mark};
    old.for_bytes(std::min(old.size, size), [&](std::size_t i, unsigned char value) {
      if (i != size - 1 || size >= old.size || old.size <= 8192) REQUIRE(moved[i] == value);
    });
    block = {moved, size, 1, block.mark};
    block.fill();
    ++own_tally_.resized;
    own_tally_.bytes += size;
  }

  void drop(Block& block) {
    if (block.bytes == nullptr) return;
    block.check();
    std::free(block.bytes);
    block = {};
    ++own_tally_.freed;
  }

  std::mt19937_64 random_;
  std::array<Block, 256> own_{};
  OwnTally own_tally_;
};

bool read_options(int argc, char** argv, Options& options) {
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string name = argv[i];
    if (name == "--seconds") {
      options.seconds = std::atof(argv[i + 1]);
    } else if (name == "--threads") {
      options.threads = static_cast<unsigned>(std::atoi(argv[i + 1]));
    } else if (name == "--seed") {
      options.seed = static_cast<std::uint64_t>(std::atoll(argv[i + 1]));
    } else {
      return false;
    }
  }
  return argc % 2 == 1 && options.threads > 0;
}

using Clock = std::chrono::steady_clock;

void print_tally(std::FILE* to, const char* what, Clock::duration so_far, const char* rest) {
  const auto number = [](const std::atomic<std::uint64_t>& value) {
    return static_cast<unsigned long long>(value.load());
  };
  std::fprintf(to, "%s: %.0f s, %llu blocks made, %llu resized, %llu freed, %llu handed over, %llu MiB filled%s\n",
               what, std::chrono::duration<double>(so_far).count(), number(tally.made), number(tally.resized),
               number(tally.freed), number(tally.handed_over), number(tally.bytes) >> 20, rest);
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  if (!read_options(argc, argv, options)) {
    std::fputs("usage: stress_malloc [--seconds S] [--threads T] [--seed N]\n", stderr);
    return 2;
  }
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < options.threads; ++i) {
    threads.emplace_back([&options, i] {
      // Threads end and others take their place, so that caches are torn down and made all the time.
      for (std::uint64_t life = 0; !stop; ++life) {
        std::thread([&] { Worker(options.seed * 1'000'003 + life * 4096 + i).run(); }).join();
      }
    });
  }
  const auto begin = Clock::now();
  const auto end = begin + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(options.seconds));
  for (auto next = begin + kProgressEvery; next < end; next += kProgressEvery) {
    std::this_thread::sleep_until(next);
    print_tally(stderr, "no difference yet", Clock::now() - begin, "");
  }
  std::this_thread::sleep_until(end);
  stop = true;
  for (std::thread& thread : threads) thread.join();
  for (Shelf& shelf : shelves) {
    if (shelf.block.bytes == nullptr) continue;
    shelf.block.check();
    std::free(shelf.block.bytes);
  }
  const std::string rest = " by " + std::to_string(options.threads) + " threads, blocks " +
                           (in_global_range(std::malloc(1)) ? "in the global range" : "elsewhere");
  print_tally(stdout, "good, no difference", Clock::now() - begin, rest.c_str());
  return 0;
}
