// Two copies of a program that knows nothing of libdsm, as two nodes: `shared CASE FOLDER`. They tell each other a
// pointer through pipes in FOLDER and use it, since the range is the same in both. Node 0 gives, node 1 takes.
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <set>
#include <string>

#include "check.h"

namespace {

constexpr std::size_t kBytes = std::size_t{8} << 20;
constexpr std::size_t kPage = 4096;

struct Peer {
  Peer(const std::string& folder, bool first) : giver(first) {
    const std::string to = folder + (first ? "/a" : "/b");
    const std::string from = folder + (first ? "/b" : "/a");
    in = open_pipe(from, O_RDWR);
    out = open_pipe(to, O_RDWR);
  }
  static int open_pipe(const std::string& path, int flags) {
    const int fd = open(path.c_str(), flags | O_CLOEXEC);
    REQUIRE(fd >= 0);
    return fd;
  }
  void tell(const void* pointer) const {
    const auto value = reinterpret_cast<std::uintptr_t>(pointer);
    REQUIRE(write(out, &value, sizeof value) == sizeof value);
  }
  char* hear() const {
    std::uintptr_t value = 0;
    REQUIRE(read(in, &value, sizeof value) == sizeof value);
    return reinterpret_cast<char*>(value);
  }

  bool giver;
  int in;
  int out;
};

// What both do first: the giver's block is known to both, and filled. The giver ends when the taker has told.
char* common_block(const Peer& peer) {
  if (!peer.giver) return peer.hear();
  auto* block = static_cast<char*>(aligned_alloc(kPage, kBytes));
  for (std::size_t i = 0; i < kBytes; ++i) block[i] = static_cast<char>(i / kPage);
  peer.tell(block);
  peer.hear();
  return block;
}

void pointers(const Peer& peer) {
  char* const block = common_block(peer);
  if (peer.giver) {
    for (std::size_t i = 0; i < kBytes; i += kPage) REQUIRE(block[i] == static_cast<char>(i / kPage + 1));
    char* const own = peer.hear();
    REQUIRE(std::strcmp(own, "mine") == 0);
    std::free(own);
    return;
  }
  for (std::size_t i = 0; i < kBytes; i += kPage) block[i] = static_cast<char>(block[i] + 1);
  peer.tell(nullptr);
  std::free(block);
  auto* own = static_cast<char*>(std::malloc(100));
  std::strcpy(own, "mine");
  peer.tell(own);
}

// System calls read and write pages that this node has not got.
void system_calls(const Peer& peer) {
  char* const block = common_block(peer);
  if (peer.giver) {
    REQUIRE(std::memcmp(block + 100 * kPage, "0123456789", 10) == 0);
    REQUIRE(block[200 * kPage] == static_cast<char>(200));
    return;
  }
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  char copy[100];
  REQUIRE(write(ends[1], block + 50 * kPage, 10) == 10 && read(ends[0], copy, 10) == 10);
  REQUIRE(copy[0] == 50 && copy[9] == 50);
  REQUIRE(write(ends[1], "0123456789", 10) == 10 && read(ends[0], block + 100 * kPage, 10) == 10);
  iovec parts[3];
  for (std::size_t i = 0; i < 3; ++i) parts[i] = {block + (300 + 10 * i) * kPage, 10};
  REQUIRE(writev(ends[1], parts, 3) == 30 && read(ends[0], copy, 30) == 30);
  for (std::size_t i = 0; i < 3; ++i) REQUIRE(copy[10 * i] == static_cast<char>(300 + 10 * i));
  const int file = memfd_create("test", 0);
  REQUIRE(write(file, block + 400 * kPage, 20 * kPage) == static_cast<ssize_t>(20 * kPage));
  REQUIRE(pread(file, block + 500 * kPage, 20 * kPage, 0) == static_cast<ssize_t>(20 * kPage));
  REQUIRE(block[519 * kPage] == static_cast<char>(419));
  const char* volatile nowhere = reinterpret_cast<char*>(8);
  errno = 0;
  REQUIRE(write(ends[1], nowhere, 10) == -1 && errno == EFAULT);
  peer.tell(nullptr);
}

volatile sig_atomic_t handled = 0;
volatile char* closed_page;

void open_page(int, siginfo_t* info, void*) {
  REQUIRE(info->si_addr == closed_page);
  handled = handled + 1;
  mprotect(const_cast<char*>(closed_page), kPage, PROT_READ | PROT_WRITE);
}

// Faults of the range are the engine's, whatever the program does with the signal; its own are its own.
void signals(const Peer& peer) {
  closed_page = static_cast<char*>(mmap(nullptr, kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  struct sigaction action {};
  struct sigaction before {};
  action.sa_sigaction = open_page;
  action.sa_flags = SA_SIGINFO;
  REQUIRE(sigaction(SIGSEGV, &action, &before) == 0 && before.sa_handler == SIG_DFL);
  REQUIRE(sigaction(SIGSEGV, nullptr, &before) == 0 && before.sa_sigaction == open_page);
  REQUIRE(signal(SIGBUS, SIG_IGN) == SIG_DFL);
  sigset_t set;
  sigfillset(&set);
  REQUIRE(sigprocmask(SIG_BLOCK, &set, nullptr) == 0);
  char* const block = common_block(peer);
  for (std::size_t i = 0; i < kBytes; i += kPage) block[i] = static_cast<char>(block[i] + 1);
  REQUIRE(handled == 0);
  REQUIRE(sigprocmask(SIG_SETMASK, nullptr, &before.sa_mask) == 0 && sigismember(&before.sa_mask, SIGSEGV) == 1);
  REQUIRE(sigprocmask(SIG_UNBLOCK, &set, nullptr) == 0);
  closed_page[0] = 1;
  REQUIRE(handled == 1);
  peer.tell(nullptr);
}

// A child has its node's private memory and nothing that nodes share: it hears so in words when it touches that.
void forks(const Peer& peer) {
  char* const block = common_block(peer);
  auto* own = static_cast<char*>(std::malloc(kBytes));
  std::memset(own, 5, kBytes);
  if (!peer.giver) {
    REQUIRE(block[0] == 0);
    const pid_t good = fork();
    if (good == 0) {
      std::free(block);  // forgotten: it is not the child's to free
      own[0] = 6;
      std::exit(own[kBytes - 1] == 5 ? 0 : 1);
    }
    int status = 0;
    REQUIRE(waitpid(good, &status, 0) == good && status == 0 && own[0] == 5);
    const pid_t bad = fork();
    if (bad == 0) _exit(block[kPage]);
    REQUIRE(waitpid(bad, &status, 0) == bad && WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    REQUIRE(block[kPage] == 1);
  }
  peer.tell(nullptr);
}

// Small blocks of each kind of allocation, each of a size and so of pages of its own, by turns the two nodes'. The
// giver tells how many pages they lie on.
struct Small {
  std::uint64_t count = 0, spare[7]{};
};
constexpr std::size_t kSmall = 32;
struct Blocks {
  Small* made[kSmall];       // new
  Small* zeroed[kSmall];     // calloc
  Small* resized[kSmall];    // realloc, from less
  Small* untouched[kSmall];  // the giver's alone
};

std::size_t pages_of(Small* const (&blocks)[kSmall]) {
  std::set<std::uintptr_t> pages;
  for (const Small* block : blocks) pages.insert(reinterpret_cast<std::uintptr_t>(block) / kPage);
  return pages.size();
}

Blocks* make_blocks() {
  auto* blocks = static_cast<Blocks*>(aligned_alloc(kPage, kPage));
  for (Small*& block : blocks->made) block = new Small;
  for (Small*& block : blocks->zeroed) {
    block = static_cast<Small*>(std::calloc(2, sizeof(Small)));
    REQUIRE(block->count == 0 && block->spare[6] == 0);
  }
  for (Small*& block : blocks->resized) {
    auto* const less = static_cast<Small*>(std::malloc(16));
    less->count = 0;
    block = static_cast<Small*>(std::realloc(less, 3 * sizeof(Small)));
  }
  for (Small*& block : blocks->untouched) block = new Small[4];
  return blocks;
}

void sites(const Peer& peer) {
  constexpr std::uint64_t kRounds = 30;
  Blocks* const blocks = peer.giver ? make_blocks() : reinterpret_cast<Blocks*>(peer.hear());
  if (peer.giver) peer.tell(blocks);
  for (std::uint64_t round = 0; round < kRounds;
       ++round) {  // one after the other, so that each has what the other has had
    if (!peer.giver) peer.hear();
    for (std::size_t turn = 0; turn < kSmall; turn += 2) {  // another one first each time, at which it faults
      const std::size_t i = (turn + 2 * round + (peer.giver ? 0 : 1)) % kSmall;
      for (Small* const block : {blocks->made[i], blocks->zeroed[i], blocks->resized[i]}) ++block->count;
    }
    peer.tell(nullptr);
    if (peer.giver) peer.hear();
  }
  for (std::size_t i = 0; i < kSmall; ++i) {
    for (Small* const block : {blocks->made[i], blocks->zeroed[i], blocks->resized[i]}) {
      REQUIRE(block->count == kRounds && malloc_usable_size(block) >= sizeof(Small));
    }
  }
  peer.tell(nullptr);
  peer.hear();
  if (!peer.giver) {  // blocks of another node
    for (std::size_t i = 0; i < kSmall / 2; ++i) {
      delete blocks->made[i];
      auto* const larger = static_cast<Small*>(std::realloc(blocks->zeroed[i], 3 * kPage));
      REQUIRE(larger->count == kRounds);
      std::free(larger);
    }
    return peer.tell(nullptr);
  }
  peer.hear();
  const std::string told = "new " + std::to_string(pages_of(blocks->made)) + " calloc " +
                           std::to_string(pages_of(blocks->zeroed)) + " realloc " +
                           std::to_string(pages_of(blocks->resized)) + " untouched " +
                           std::to_string(pages_of(blocks->untouched)) + "\n";
  REQUIRE(write(1, told.data(), told.size()) == static_cast<ssize_t>(told.size()));
  for (std::size_t i = kSmall / 2; i < kSmall; ++i) {
    ::operator delete(blocks->made[i], sizeof(Small));
    std::free(blocks->zeroed[i]);
    blocks->resized[i] = static_cast<Small*>(std::realloc(blocks->resized[i], 2 * kPage));
    REQUIRE(blocks->resized[i]->count == kRounds);
  }
  for (int i = 0; i < 1000; ++i) std::free(std::malloc(64));  // what was freed serves again, if caches are sound
}

struct SharedCase {
  const char* name;
  void (*run)(const Peer& peer);
};
constexpr SharedCase kCases[] = {
    {"pointers", pointers}, {"system_calls", system_calls}, {"signals", signals}, {"forks", forks}, {"sites", sites}};

}  // namespace

int main(int argc, char** argv) {
  REQUIRE(argc == 3);
  const std::string folder = argv[2];
  const bool first = open((folder + "/first").c_str(), O_CREAT | O_EXCL | O_CLOEXEC, 0600) >= 0;
  const Peer peer(folder, first);
  for (const SharedCase& test : kCases) {
    if (std::string(argv[1]) == test.name) {
      test.run(peer);
      say_good();
      return 0;
    }
  }
  return 2;
}
