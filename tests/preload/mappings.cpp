// A program that maps its memory itself, as garbage collectors do: `mappings CASE`. Knows nothing of libdsm; run with
// --mmap-kib 1024 (preload_test.cpp).
#include <sys/mman.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "check.h"

namespace {

constexpr std::size_t kPage = 4096, kMiB = std::size_t{1} << 20;

char* map(std::size_t bytes, int more = 0, int protection = PROT_READ | PROT_WRITE) {
  void* const at = ::mmap(nullptr, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | more, -1, 0);
  return at == MAP_FAILED ? nullptr : static_cast<char*>(at);
}

bool all(const char* begin, std::size_t bytes, char value) {
  for (std::size_t i = 0; i < bytes; ++i) {
    if (begin[i] != value) return false;
  }
  return true;
}

void which_are_global() {
  REQUIRE(in_global_range(map(kMiB)));
  REQUIRE(in_global_range(map(3 * kMiB + 1, MAP_POPULATE)));
  REQUIRE(!in_global_range(map(kMiB - kPage)));
  REQUIRE(!in_global_range(map(2 * kMiB, MAP_STACK)));
  REQUIRE(!in_global_range(map(2 * kMiB, MAP_NORESERVE)));
  REQUIRE(!in_global_range(map(2 * kMiB, 0, PROT_NONE)));
  std::thread([] {
    char here = 1;
    REQUIRE(!in_global_range(&here));
  }).join();
}

void fresh_is_zero() {
  for (int round = 0; round < 20; ++round) {
    char* const at = map(2 * kMiB);
    REQUIRE(at != nullptr && reinterpret_cast<std::uintptr_t>(at) % kPage == 0 && all(at, 2 * kMiB, 0));
    std::memset(at, 7, 2 * kMiB);
    REQUIRE(::munmap(at, 2 * kMiB) == 0);
  }
}

// In pieces, from the middle, twice, and more than there is.
void unmapping() {
  char* const at = map(4 * kMiB);
  char* const other = map(kMiB);
  std::memset(at, 1, 4 * kMiB);
  std::memset(other, 2, kMiB);
  REQUIRE(::munmap(at + kMiB, kMiB) == 0 && ::munmap(at + kMiB, 2 * kMiB) == 0);
  REQUIRE(all(at, kMiB, 1) && all(at + 3 * kMiB, kMiB, 1));
  REQUIRE(::munmap(at, kMiB) == 0 && all(at + 3 * kMiB, kMiB, 1));
  errno = 0;
  REQUIRE(::munmap(at + 1, kMiB) == -1 && errno == EINVAL);
  REQUIRE(::munmap(at + 3 * kMiB, 0) == -1 && errno == EINVAL);
  REQUIRE(::munmap(at + 3 * kMiB, kMiB) == 0 && ::munmap(at, 4 * kMiB) == 0);
  REQUIRE(all(other, kMiB, 2));
}

void resizing() {
  char* at = map(kMiB);
  std::memset(at, 3, kMiB);
  errno = 0;
  REQUIRE(::mremap(at, kMiB, 2 * kMiB, 0) == MAP_FAILED && errno == ENOMEM);
  at = static_cast<char*>(::mremap(at, kMiB, 3 * kMiB, MREMAP_MAYMOVE));
  REQUIRE(at != MAP_FAILED && in_global_range(at) && all(at, kMiB, 3) && all(at + kMiB, 2 * kMiB, 0));
  REQUIRE(::mremap(at, 3 * kMiB, kMiB, 0) == at && all(at, kMiB, 3));
  errno = 0;
  REQUIRE(::mremap(at, 3 * kMiB, 4 * kMiB, MREMAP_MAYMOVE) == MAP_FAILED && errno == EFAULT);
  REQUIRE(::munmap(at, kMiB) == 0);
}

void advice() {
  char* const at = map(2 * kMiB);
  std::memset(at, 4, 2 * kMiB);
  REQUIRE(::madvise(at + kPage, kMiB, MADV_DONTNEED) == 0);
  REQUIRE(all(at, kPage, 4) && all(at + kPage, kMiB, 0) && all(at + kPage + kMiB, kMiB - kPage, 4));
  REQUIRE(::madvise(at, kMiB, MADV_WILLNEED) == 0 && ::madvise(at, kMiB, MADV_HUGEPAGE) == 0);
  errno = 0;
  REQUIRE(::madvise(at, kMiB, 12345) == -1 && errno == EINVAL);
  REQUIRE(::mprotect(at, kMiB, PROT_READ | PROT_WRITE) == 0);
  errno = 0;
  REQUIRE(::mprotect(at, kMiB, PROT_NONE) == -1 && errno == EACCES);
  REQUIRE(all(at, kPage, 4) && ::munmap(at, 2 * kMiB) == 0);
}

// More than the job has.
void used_up() {
  errno = 0;
  REQUIRE(map(std::size_t{1} << 46) == nullptr && errno == ENOMEM);
  REQUIRE(in_global_range(map(kMiB)));
}

void forking() {
  char* const at = map(2 * kMiB);
  std::memset(at, 5, 2 * kMiB);
  const pid_t child = ::fork();
  if (child == 0) {
    if (!all(at, 2 * kMiB, 5)) ::_exit(1);
    std::memset(at, 6, 2 * kMiB);
    char* const own = map(2 * kMiB);
    if (own == nullptr || !all(own, 2 * kMiB, 0) || ::munmap(own, 2 * kMiB) != 0) ::_exit(2);
    ::_exit(::munmap(at, 2 * kMiB) == 0 ? 0 : 3);
  }
  int status = -1;
  REQUIRE(::waitpid(child, &status, 0) == child && status == 0);
  REQUIRE(all(at, 2 * kMiB, 5));
}

void many_threads() {
  std::vector<std::thread> threads;
  for (int t = 1; t <= 8; ++t) {
    threads.emplace_back([t] {
      for (int round = 0; round < 50; ++round) {
        char* const at = map(kMiB + kPage * static_cast<std::size_t>(round));
        REQUIRE(at != nullptr && at[0] == 0 && at[kMiB - 1] == 0);
        std::memset(at, t, kMiB);
        REQUIRE(::munmap(at, kMiB / 2) == 0 && all(at + kMiB / 2, kMiB / 2, static_cast<char>(t)));
        REQUIRE(::munmap(at + kMiB / 2, kMiB / 2 + kPage * static_cast<std::size_t>(round)) == 0);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

constexpr Case kCases[] = {{"which_are_global", which_are_global},
                           {"fresh_is_zero", fresh_is_zero},
                           {"unmapping", unmapping},
                           {"resizing", resizing},
                           {"advice", advice},
                           {"used_up", used_up},
                           {"forking", forking},
                           {"many_threads", many_threads}};

}  // namespace

int main(int argc, char** argv) {
  for (const Case& test : kCases) {
    if (argc != 2 || std::string(argv[1]) != test.name) continue;
    test.run();
    say_good();
    return 0;
  }
  return 2;
}
