// A program whose memory does not fit its node: each check of memory_test is a run of it. Prints what it finds; exit
// status 1 if anything is wrong.
#include <dsm/dsm.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kMiB = std::size_t{1} << 20;

std::size_t mib_asked_for = 0;  // by a second argument, where machines are slow
std::size_t pages_of(std::size_t mib) { return (mib_asked_for != 0 ? mib_asked_for : mib) * kMiB / kPage; }

std::uint64_t value_of(std::size_t page, std::uint64_t version) { return page * 1'000'003 + version; }

std::uint64_t* page_at(void* memory, std::size_t page) {
  return reinterpret_cast<std::uint64_t*>(static_cast<std::byte*>(memory) + page * kPage);
}

void put(void* memory, std::size_t page, std::uint64_t version) {
  std::uint64_t* const words = page_at(memory, page);
  words[page % 500] = words[511] = value_of(page, version);
}

bool is(void* memory, std::size_t page, std::uint64_t version) {
  const std::uint64_t* const words = page_at(memory, page);
  return words[page % 500] == value_of(page, version) && words[511] == value_of(page, version);
}

void* memory_of(std::size_t bytes) {
  void* memory = dsm::alloc(bytes, kPage);
  if (memory == nullptr) {
    std::printf("no memory\n");
    std::exit(1);
  }
  return memory;
}

// Runs work(0), work(1), ... on so many threads.
template <typename Work>
void on_threads(std::size_t count, const Work& work) {
  std::vector<std::thread> threads;
  for (std::size_t thread = 0; thread < count; ++thread) threads.emplace_back([&work, thread] { work(thread); });
  for (std::thread& thread : threads) thread.join();
}

// Four threads read and write their share of four times the local memory at random.
int values() {
  constexpr std::size_t kPages = 32 * kMiB / kPage, kThreads = 4, kShare = kPages / kThreads;
  void* const memory = memory_of(kPages * kPage);
  std::atomic<unsigned> wrong{0};
  const auto work = [&](std::size_t thread) {
    std::mt19937_64 random(thread);
    std::vector<std::uint64_t> versions(kShare);
    for (int i = 0; i < 20'000; ++i) {
      const std::size_t mine = random() % kShare;
      const std::size_t page = thread * kShare + mine;
      if (versions[mine] != 0 && !is(memory, page, versions[mine])) ++wrong;
      if (random() % 2 != 0) put(memory, page, ++versions[mine]);
    }
    for (std::size_t mine = 0; mine < kShare; ++mine) {
      if (versions[mine] != 0 && !is(memory, thread * kShare + mine, versions[mine])) ++wrong;
    }
  };
  on_threads(kThreads, work);
  dsm::free(memory);
  std::printf("%u wrong\n", wrong.load());
  return wrong != 0;
}

// Four threads change every page, each its own words of it, and read it before that or not: pages are cleaned, read and
// changed at the same time.
int same_pages() {
  constexpr std::size_t kPages = 24 * kMiB / kPage, kThreads = 4;
  void* const memory = memory_of(kPages * kPage);
  std::atomic<unsigned> wrong{0};
  const auto work = [&](std::size_t thread) {
    std::mt19937_64 random(thread);
    std::vector<std::uint64_t> versions(kPages);
    const auto word = [&](std::size_t page) { return page_at(memory, page) + (page * 31 + thread * 128) % 512; };
    for (int i = 0; i < 40'000; ++i) {
      // Half of the touches go to a few pages, which rest and come back.
      const std::size_t page = random() % (random() % 2 != 0 ? kPages : kPages / 4);
      if (random() % 2 != 0 && versions[page] != 0 && *word(page) != value_of(page, versions[page])) ++wrong;
      if (random() % 2 != 0) *word(page) = value_of(page, ++versions[page]);
    }
    for (std::size_t page = 0; page < kPages; ++page) {
      if (versions[page] != 0 && *word(page) != value_of(page, versions[page])) ++wrong;
    }
  };
  on_threads(kThreads, work);
  dsm::free(memory);
  std::printf("%u wrong\n", wrong.load());
  return wrong != 0;
}

// Touches 16 MiB once and never again.
int fresh() {
  void* const memory = memory_of(16 * kMiB);
  for (std::size_t page = 0; page < 16 * kMiB / kPage; ++page) put(memory, page, 1);
  return 0;
}

// Writes 32 MiB once and reads it three times.
int clean() {
  const std::size_t pages = pages_of(32);
  void* const memory = memory_of(pages * kPage);
  for (std::size_t page = 0; page < pages; ++page) put(memory, page, 1);
  unsigned wrong = 0;
  for (int round = 0; round < 3; ++round) {
    for (std::size_t page = 0; page < pages; ++page) wrong += !is(memory, page, 1);
  }
  std::printf("%u wrong\n", wrong);
  return wrong != 0;
}

// Reads and then writes each page of 32 MiB in each of eight rounds, then reads them in four.
int rewritten() {
  const std::size_t pages = pages_of(32);
  void* const memory = memory_of(pages * kPage);
  unsigned wrong = 0;
  for (std::uint64_t round = 1; round <= 8; ++round) {
    for (std::size_t page = 0; page < pages; ++page) {
      if (round > 1) wrong += !is(memory, page, round - 1);
      put(memory, page, round);
    }
  }
  for (int round = 0; round < 4; ++round) {
    for (std::size_t page = 0; page < pages; ++page) wrong += !is(memory, page, 8);
  }
  std::printf("%u wrong\n", wrong);
  return wrong != 0;
}

// Memory that was given back reads as what is written next, whatever is left of it where.
int recycled() {
  unsigned wrong = 0;
  for (std::uint64_t round = 1; round < 8; ++round) {
    std::vector<void*> blocks;
    for (int i = 0; i < 24; ++i) blocks.push_back(memory_of(kMiB));
    for (std::size_t i = 0; i < blocks.size(); ++i) {
      for (std::size_t page = 0; page < kMiB / kPage; page += 3) put(blocks[i], page, round * 100 + i);
    }
    for (std::size_t i = 0; i < blocks.size(); ++i) {
      for (std::size_t page = 0; page < kMiB / kPage; page += 3) wrong += !is(blocks[i], page, round * 100 + i);
    }
    for (void* block : blocks) dsm::free(block);
  }
  std::printf("%u wrong\n", wrong);
  return wrong != 0;
}

// Takes all there is, hears nullptr, and goes on with what it has.
int used_up() {
  std::vector<void*> blocks;
  for (void* block = nullptr; (block = dsm::alloc(kMiB, kPage)) != nullptr;) {
    blocks.push_back(block);
    put(block, 7, blocks.size());
  }
  unsigned wrong = 0;
  for (std::size_t i = 0; i < blocks.size(); ++i) wrong += !is(blocks[i], 7, i + 1);
  wrong += dsm::alloc(64 * kMiB) != nullptr;
  dsm::free(blocks.back());
  void* const again = dsm::alloc(kMiB / 2, kPage);
  wrong += again == nullptr;
  if (again != nullptr) put(again, 7, 1);
  std::printf("%zu MiB, then nullptr; %u wrong\n", blocks.size(), wrong);
  return wrong != 0;
}

// Every node reads what the one before it has written, all of it larger than the local memory of either; and gives
// back what the other has allocated.
int shared() {
  const std::size_t pages = pages_of(12);
  const unsigned next = (dsm::node() + 1) % dsm::nodes();
  void* const mine = memory_of(pages * kPage);
  dsm::publish("memory of " + std::to_string(dsm::node()), mine);
  auto* const barrier = static_cast<dsm::barrier*>(dsm::alloc_collective(sizeof(dsm::barrier), dsm::local));
  if (dsm::node() == 0) {
    ::new (barrier) dsm::barrier(dsm::nodes());
    dsm::publish("barrier", barrier);
  }
  static_cast<void>(dsm::lookup("barrier"));
  void* const theirs = dsm::lookup("memory of " + std::to_string(next));
  unsigned wrong = dsm::nodes() != 2;
  for (std::uint64_t round = 1; round < 4; ++round) {
    for (std::size_t page = 0; page < pages; ++page) put(mine, page, round);
    barrier->arrive_and_wait();
    for (std::size_t page = 0; page < pages; ++page) wrong += !is(theirs, page, round);
    barrier->arrive_and_wait();
  }
  wrong += dsm::usable_size(theirs) < pages * kPage;
  dsm::free(theirs);
  std::printf("%u wrong\n", wrong);
  return wrong != 0;
}

// For the test to look at the memory nodes while the program works, and to kill one.
int steady() {
  constexpr std::size_t kPages = 32 * kMiB / kPage;
  void* const memory = memory_of(kPages * kPage);
  std::printf("ready\n");
  std::fflush(stdout);
  for (std::uint64_t round = 1; std::getchar() == '\n'; ++round) {
    unsigned wrong = 0;
    for (std::size_t page = 0; page < kPages; ++page) put(memory, page, round);
    for (std::size_t page = 0; page < kPages; ++page) wrong += !is(memory, page, round);
    std::printf("round done, %u wrong\n", wrong);
    std::fflush(stdout);
  }
  return 0;
}

int forever() {
  constexpr std::size_t kPages = 32 * kMiB / kPage;
  void* const memory = memory_of(kPages * kPage);
  std::printf("ready\n");
  std::fflush(stdout);
  for (std::uint64_t round = 1;; ++round) {
    for (std::size_t page = 0; page < kPages; ++page) put(memory, page, round);
  }
}

// A pointer into memory that nobody has leased.
int wild() {
  char* const memory = static_cast<char*>(memory_of(kPage));
  std::printf("ready\n");
  std::fflush(stdout);
  memory[std::size_t{1} << 30] = 1;
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::map<std::string, std::function<int()>> checks = {
      {"values", values},     {"same_pages", same_pages}, {"fresh", fresh},     {"clean", clean},
      {"recycled", recycled}, {"rewritten", rewritten},   {"used_up", used_up}, {"shared", shared},
      {"steady", steady},     {"forever", forever},       {"wild", wild}};
  if (argc < 2 || argc > 3 || !checks.contains(argv[1])) return 64;
  if (argc == 3) mib_asked_for = std::strtoul(argv[2], nullptr, 10);
  if (dsm::start()) return 1;
  return checks.at(argv[1])();
}
