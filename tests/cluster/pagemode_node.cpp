// One check of page mode, run by every node of a job: pagemode_node NAME. Exit status 0: right. pagemode_test starts it
// under dsmrun, in every engine.
#include <dsm/dsm.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "tests/cluster/node_frame.h"

namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kChunk = std::size_t{2} << 20;

using node_test::meet;
using node_test::shared;

std::uint64_t* page_aligned(std::size_t bytes, dsm::placement where = dsm::local) {
  void* block = dsm::alloc(bytes, kPage, where);
  EXPECT(block != nullptr);
  return static_cast<std::uint64_t*>(block);
}

// Every node writes its turn into every page, in turn, and reads what the others wrote.
void values() {
  auto* words = shared<std::uint64_t>("words", [] { return page_aligned(64 * kPage); });
  for (unsigned round = 0; round < 3 * dsm::nodes(); ++round) {
    if (round % dsm::nodes() == dsm::node()) {
      for (std::size_t p = 0; p < 64; ++p) words[p * 512 + round] = round * 1000 + p;
    }
    meet();
    for (std::size_t p = 0; p < 64; ++p) EXPECT(words[p * 512 + round] == round * 1000 + p);
    meet();
  }
}

// Node 0's threads write all over their private chunks while the other nodes read them: no write may be lost.
void conversion() {
  constexpr std::size_t kChunks = 8, kWords = kChunks * kChunk / sizeof(std::uint64_t), kThreads = 2;
  auto* words = shared<std::uint64_t>("words", [] {
    auto* block = static_cast<std::uint64_t*>(dsm::alloc(kChunks * kChunk, kChunk));
    EXPECT(block != nullptr);
    for (std::size_t i = 0; i < kWords; i += 64) block[i] = 1;
    return block;
  });
  auto* stop = shared<std::atomic<std::uint64_t>>(
      "stop", [] { return dsm::make<std::atomic<std::uint64_t>>(std::uint64_t{0}); });
  std::vector<std::thread> writers;
  std::vector<std::uint64_t> rounds(kThreads, 1);
  if (dsm::node() == 0) {
    for (std::size_t t = 0; t < kThreads; ++t) {
      writers.emplace_back([&, t] {
        do {  // thread t writes word t of every cache line, one more each round
          ++rounds[t];
          for (std::size_t i = 0; i < kWords; i += 64 * 8) words[i + t] = rounds[t];
        } while (stop->load() + 1 < dsm::nodes());
      });
    }
  } else {
    std::uint64_t last = 0;
    for (int pass = 0; pass < 3; ++pass) {
      for (std::size_t i = 0; i < kWords; i += 512) last += words[i];
    }
    EXPECT(last != 0);
    stop->fetch_add(1);
  }
  for (auto& writer : writers) writer.join();
  meet();
  auto* truth = shared<std::uint64_t>("truth", [&] {
    auto* block = dsm::make<std::uint64_t>(rounds[0]);
    dsm::publish("truth1", dsm::make<std::uint64_t>(rounds[1]));
    return block;
  });
  const std::uint64_t second = *static_cast<std::uint64_t*>(dsm::lookup("truth1"));
  for (std::size_t i = 0; i < kWords; i += 64 * 8) EXPECT(words[i] == *truth && words[i + 1] == second);
}

// A block freed and allocated again is never seen with its old content, whoever had it cached.
void coherent_free() {
  auto* at = shared<std::atomic<std::uint64_t*>>("at", [] { return dsm::make<std::atomic<std::uint64_t*>>(nullptr); });
  for (std::uint64_t round = 1; round <= 200; ++round) {
    if (round % dsm::nodes() == dsm::node()) {
      auto* block = static_cast<std::uint64_t*>(dsm::alloc(256));
      for (std::size_t i = 0; i < 32; ++i) block[i] = round * 100 + i;
      *at = block;
    }
    meet();
    for (std::size_t i = 0; i < 32; ++i) EXPECT(at->load()[i] == round * 100 + i);
    meet();
    if ((round + 1) % dsm::nodes() == dsm::node()) dsm::free(at->load());  // by another node than its maker
    meet();
  }
}

// Frees of other nodes' blocks come home: a heap that only foreign nodes free does not grow without end.
void remote_frees() {
  constexpr std::size_t kBlocks = 2000, kBytes = 4096;
  auto* blocks = shared<void*>("blocks", [] { return static_cast<void**>(dsm::alloc(kBlocks * sizeof(void*))); });
  std::uintptr_t lowest = UINTPTR_MAX, highest = 0;
  for (int round = 0; round < 30; ++round) {
    if (dsm::node() == 0) {
      for (std::size_t i = 0; i < kBlocks; ++i) {
        blocks[i] = dsm::alloc(kBytes);
        EXPECT(blocks[i] != nullptr && dsm::home(blocks[i]) == 0);
        lowest = std::min(lowest, reinterpret_cast<std::uintptr_t>(blocks[i]));
        highest = std::max(highest, reinterpret_cast<std::uintptr_t>(blocks[i]));
      }
    }
    meet();
    if (dsm::node() == 1 % dsm::nodes()) {
      for (std::size_t i = 0; i < kBlocks; ++i) dsm::free(blocks[i]);
    }
    meet();
  }
  if (dsm::node() == 0) EXPECT(highest - lowest < 10 * kBlocks * kBytes);
}

void foreign_realloc() {
  if (dsm::node() == 0) {
    auto* block = static_cast<char*>(dsm::alloc(100));
    std::memcpy(block, "as it was", 10);
    dsm::publish("block", block);
  }
  auto* block = static_cast<char*>(dsm::lookup("block"));
  if (dsm::node() == dsm::nodes() - 1) {
    EXPECT(dsm::usable_size(block) >= 100);
    auto* grown = static_cast<char*>(dsm::realloc(block, 100'000));
    EXPECT(grown != nullptr && dsm::home(grown) == 0 && std::strcmp(grown, "as it was") == 0);
    EXPECT(dsm::usable_size(grown) >= 100'000);
    grown[99'999] = 'x';
    dsm::publish("grown", grown);
  }
  auto* grown = static_cast<char*>(dsm::lookup("grown"));
  EXPECT(grown[99'999] == 'x' && std::strcmp(grown, "as it was") == 0);
}

void placement() {
  for (unsigned home = 0; home < dsm::nodes(); ++home) {
    void* block = dsm::alloc(1000, 64, dsm::on_node(home));
    EXPECT(block != nullptr && dsm::home(block) == home && reinterpret_cast<std::uintptr_t>(block) % 64 == 0);
    std::memset(block, 1, 1000);
    dsm::free(block);
  }
  auto* spread = static_cast<char*>(dsm::alloc(dsm::nodes() * 65536, 0, dsm::interleaved));
  EXPECT(spread != nullptr);
  std::map<unsigned, int> homes;
  for (unsigned i = 0; i < dsm::nodes(); ++i) ++homes[dsm::home(spread + i * 65536)];
  EXPECT(homes.size() == dsm::nodes());
  std::memset(spread, 7, dsm::nodes() * 65536);
  dsm::free(spread);
  EXPECT(dsm::alloc(1, 3) == nullptr);                              // no power of two
  EXPECT(dsm::alloc(1, 0, dsm::on_node(dsm::nodes())) == nullptr);  // no such node
  EXPECT(dsm::alloc(std::size_t{1} << 60) == nullptr);              // more than there is
  EXPECT(dsm::home(&homes) == dsm::nodes());
  void *a = dsm::alloc(0), *b = dsm::alloc(0);
  EXPECT(a != nullptr && b != nullptr && a != b);
  dsm::free(nullptr);
}

void roots() {
  EXPECT(dsm::lookup("nobody's", std::chrono::milliseconds{5}) == nullptr);
  EXPECT(dsm::publish("", nullptr) == std::errc::invalid_argument);
  EXPECT(dsm::publish(std::string(129, 'x'), nullptr) == std::errc::invalid_argument);
  const std::string longest(128, 'y');
  if (dsm::node() == dsm::nodes() - 1) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));  // so that the others are waiting: not needed to pass
    EXPECT(!dsm::publish(longest, dsm::make<int>(42)));
  }
  EXPECT(*static_cast<int*>(dsm::lookup(longest)) == 42);
  auto* block = static_cast<std::uint64_t*>(dsm::alloc_collective(3 * kChunk));
  auto* other = static_cast<std::uint64_t*>(dsm::alloc_collective(kPage, dsm::on_node(dsm::nodes() - 1)));
  EXPECT(block != nullptr && other != nullptr && dsm::home(other) == dsm::nodes() - 1);
  for (std::size_t i = 0; i < 3 * kChunk / 8; i += 512) EXPECT(block[i] == 0);
  EXPECT(other[0] == 0 && other[511] == 0);
  meet();
  block[dsm::node()] = dsm::node() + 1;
  meet();
  for (unsigned n = 0; n < dsm::nodes(); ++n) EXPECT(block[n] == n + 1);
}

void hints() {
  constexpr std::size_t kBytes = 2 * kChunk;
  auto* words = shared<std::uint64_t>("words", [] { return page_aligned(kBytes); });
  if (dsm::node() == 0) {
    for (std::size_t i = 0; i < kBytes / 8; ++i) words[i] = i;
  }
  meet();
  for (unsigned turn = 0; turn < dsm::nodes(); ++turn) {
    if (turn == dsm::node()) {
      EXPECT(!dsm::prefetch(words, kBytes));
      for (std::size_t i = 0; i < kBytes / 8; ++i) EXPECT(words[i] == i + turn);
      EXPECT(!dsm::prefetch(words, kBytes, dsm::access::write));
      for (std::size_t i = 0; i < kBytes / 8; ++i) ++words[i];
      if (turn % 2 == 0)
        EXPECT(!dsm::release(words, kBytes));
      else
        EXPECT(!dsm::transfer(words, kBytes, (turn + 1) % dsm::nodes()));
    }
    meet();
  }
  EXPECT(words[5] == 5 + dsm::nodes());
  int outside = 0;
  EXPECT(dsm::prefetch(&outside, 4) == std::errc::invalid_argument);
  EXPECT(dsm::transfer(words, 8, dsm::nodes()) == std::errc::invalid_argument);
  EXPECT(!dsm::prefetch(words, 0));
}

// Each node in turn changes all pages, one after the other, while the others read them, so that streams of conflicts
// meet and cross. A word only grows, and no reader sees it go back.
void streams() {
  constexpr std::size_t kPages = 700;  // of two chunks
  auto* words = shared<std::uint64_t>("words", [] { return page_aligned(kPages * kPage); });
  const auto at = [&](std::size_t page) { return std::atomic_ref(words[page * 512 + page % 512]); };
  std::vector<std::uint64_t> seen(kPages);
  for (unsigned round = 0; round < 4 * dsm::nodes(); ++round) {
    for (int pass = 0; pass < 2; ++pass) {
      for (std::size_t page = 0; page < kPages; ++page) {
        if (round % dsm::nodes() == dsm::node() && pass == 0) at(page).fetch_add(1);
        const std::uint64_t value = at(page).load();
        EXPECT(value >= seen[page] && value <= round + 1);
        seen[page] = value;
      }
    }
    meet();
  }
  for (std::size_t page = 0; page < kPages; ++page) EXPECT(at(page).load() == 4 * dsm::nodes());
}

bool mapped(const void* address) {
  const int file = ::open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
  std::uint64_t word = 0;
  const auto offset = static_cast<off_t>(reinterpret_cast<std::uintptr_t>(address) / kPage * sizeof word);
  EXPECT(::pread(file, &word, sizeof word, offset) == sizeof word);
  ::close(file);
  return word >> 63 != 0;
}

// What another node has just written, alone in its chunk or with all nodes, comes without being touched. Engines that
// map what they gain, only.
void asked_for() {
  constexpr std::size_t kPages = 300;
  auto* words = shared<std::uint64_t>("words", [] { return page_aligned(kPages * kPage); });
  for (std::uint64_t round = 1; round < 4; ++round) {
    if (dsm::node() == 0) {
      for (std::size_t page = 0; page < kPages; ++page) words[page * 512] = round * page;
    }
    meet();
    if (dsm::node() == 1) {
      EXPECT(!dsm::prefetch(words, kPages * kPage));
      for (std::size_t page = 0; page < kPages; ++page) {
        for (int ms = 1; !mapped(words + page * 512); ++ms) {
          EXPECT(ms < 20'000);
          std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
        EXPECT(words[page * 512] == round * page);
      }
    }
    meet();
  }
}

// Pages asked for before their home has allocated them: a touch once they are there is right, and not a wild one.
void asked_too_early() {
  constexpr std::size_t kRange = 64 * kChunk;
  auto* first = shared<std::uint64_t>("first", [] { return page_aligned(kPage); });
  std::uintptr_t from = reinterpret_cast<std::uintptr_t>(first) + kChunk;
  if (dsm::node() == 1) EXPECT(!dsm::prefetch(reinterpret_cast<void*>(from), kRange));
  meet();
  auto* later = shared<std::uint64_t>("later", [] { return page_aligned(kRange / 2); });
  if (dsm::node() == 0) {
    for (std::size_t page = 0; page < kRange / 2 / kPage; ++page) later[page * 512] = page;
  }
  meet();
  const auto begin = reinterpret_cast<std::uintptr_t>(later);
  EXPECT(begin >= from && begin + kRange / 2 <= from + kRange);
  for (std::size_t page = 0; page < kRange / 2 / kPage; ++page) EXPECT(later[page * 512] == page);
}

// Message passing through plain and atomic words, as on one machine.
void atomics() {
  struct Box {
    std::atomic<std::uint64_t> flag;
    char pad[2 * kPage];
    std::uint64_t payload[64];
  };
  auto* box = shared<Box>("box", [] { return dsm::make<Box>(); });
  const std::uint64_t rounds = 300;
  for (std::uint64_t round = 0; round < rounds; ++round) {
    if (round % dsm::nodes() == dsm::node()) {
      while (box->flag.load(std::memory_order_acquire) != round) std::this_thread::yield();
      for (std::uint64_t i = 0; i < 64; ++i) {
        EXPECT(round == 0 || box->payload[i] == (round - 1) * 64 + i);
        box->payload[i] = round * 64 + i;
      }
      box->flag.store(round + 1, std::memory_order_release);
    }
  }
  meet();
  EXPECT(box->flag == rounds);
}

// A system call that is handed pages of other nodes (uffd-thread: the kernel waits for them like the program would).
void system_calls() {
  auto* bytes = shared<char>("bytes", [] {
    auto* block = reinterpret_cast<char*>(page_aligned(16 * kPage));
    std::memset(block, 'a', 16 * kPage);
    return block;
  });
  meet();
  if (dsm::node() == 1) {
    const int file = ::memfd_create("pages", MFD_CLOEXEC);
    EXPECT(::write(file, bytes, 16 * kPage) == 16 * kPage);  // read access to pages nobody here has touched
    EXPECT(::lseek(file, 0, SEEK_SET) == 0);
    std::vector<char> copy(16 * kPage);
    EXPECT(::read(file, copy.data(), copy.size()) == 16 * kPage && copy.front() == 'a' && copy.back() == 'a');
    std::memset(copy.data(), 'b', copy.size());
    EXPECT(::pwrite(file, copy.data(), copy.size(), 0) == 16 * kPage);
    EXPECT(::pread(file, bytes, 16 * kPage, 0) == 16 * kPage);  // write access
    ::close(file);
  }
  meet();
  for (std::size_t i = 0; i < 16 * kPage; ++i) EXPECT(bytes[i] == 'b');
}

// A wild pointer into another node's slice is the SIGSEGV it would be anywhere.
void wild() {
  auto* words = shared<std::uint64_t>("words", [] { return page_aligned(kPage); });
  meet();
  if (dsm::node() == 1) {
    volatile std::uint64_t* far = words + (std::size_t{1} << 30) / 8;  // same slice, never allocated
    std::printf("read %lu\n", static_cast<unsigned long>(*far));
  }
  meet();
}

const std::map<std::string, void (*)()> kChecks = {{"values", values},
                                                   {"conversion", conversion},
                                                   {"coherent_free", coherent_free},
                                                   {"remote_frees", remote_frees},
                                                   {"foreign_realloc", foreign_realloc},
                                                   {"placement", placement},
                                                   {"roots", roots},
                                                   {"hints", hints},
                                                   {"streams", streams},
                                                   {"asked_for", asked_for},
                                                   {"asked_too_early", asked_too_early},
                                                   {"atomics", atomics},
                                                   {"system_calls", system_calls},
                                                   {"wild", wild}};

}  // namespace

int main(int argc, char** argv) {
  const auto check = argc == 2 ? kChecks.find(argv[1]) : kChecks.end();
  if (check == kChecks.end() || dsm::start()) return 64;
  check->second();
  meet();
  return 0;
}
