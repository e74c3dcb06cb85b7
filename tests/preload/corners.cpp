// The corners of C's and C++'s allocation functions, as behaviours: `corners CASE`. Knows nothing of libdsm.
#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <new>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "check.h"

namespace {

constexpr std::size_t kHuge = SIZE_MAX / 2 + 1;

// Keeps the compiler from knowing what a block is.
template <typename T>
T opaque(T value) {
  asm volatile("" : "+r"(value));
  return value;
}

bool aligned(const void* block, std::size_t to) { return reinterpret_cast<std::uintptr_t>(block) % to == 0; }

void zero_bytes() {
  std::set<void*> blocks;
  for (int i = 0; i < 1000; ++i) {
    void* block = i % 2 == 0 ? std::malloc(0) : std::calloc(0, 8);
    REQUIRE(block != nullptr && in_global_range(block));
    REQUIRE(blocks.insert(block).second);
  }
  for (void* block : blocks) std::free(block);
  REQUIRE(aligned(opaque(std::malloc(1)), 8) && aligned(opaque(std::malloc(16)), 16));
}

void overflow() {
  errno = 0;
  REQUIRE(std::malloc(opaque(kHuge)) == nullptr && errno == ENOMEM);
  errno = 0;
  REQUIRE(std::malloc(opaque(SIZE_MAX)) == nullptr && errno == ENOMEM);
  errno = 0;
  REQUIRE(std::calloc(opaque(SIZE_MAX / 2), 3) == nullptr && errno == ENOMEM);
  errno = 0;
  char* block = static_cast<char*>(std::malloc(10));
  std::strcpy(block, "still here");
  block = opaque(block);
  REQUIRE(reallocarray(block, opaque(SIZE_MAX / 4), 8) == nullptr && errno == ENOMEM);
  REQUIRE(std::realloc(block, opaque(kHuge)) == nullptr);
  REQUIRE(std::memcmp(block, "still here", 10) == 0);
  errno = 0;
  REQUIRE(pvalloc(opaque(SIZE_MAX)) == nullptr && errno == ENOMEM);
  REQUIRE(memalign(opaque(std::size_t{1} << 40), opaque(SIZE_MAX - 100)) == nullptr);
}

void alignment() {
  for (std::size_t to = 8; to <= (std::size_t{64} << 20); to *= 2) {
    for (const std::size_t bytes : {std::size_t{0}, std::size_t{1}, std::size_t{100}, std::size_t{5000}, 3 * to / 2}) {
      void* block = nullptr;
      REQUIRE(posix_memalign(&block, to, bytes) == 0 && block != nullptr);
      REQUIRE(aligned(block, to) && in_global_range(block) && malloc_usable_size(block) >= bytes);
      std::memset(block, 1, bytes);
      void* other = aligned_alloc(to, bytes);
      REQUIRE(other != nullptr && aligned(other, to) && other != block);
      other = std::realloc(other, bytes + 1);
      REQUIRE(other != nullptr);
      std::free(block);
      std::free(other);
    }
  }
  void* kept = &kept;
  for (const std::size_t to : {0U, 1U, 2U, 4U, 7U, 24U, 100U}) {
    errno = 77;
    REQUIRE(posix_memalign(&kept, opaque(to), 8) == EINVAL && kept == &kept && errno == 77);
  }
  REQUIRE(posix_memalign(&kept, 64, opaque(kHuge)) == ENOMEM && kept == &kept && errno == 77);
  REQUIRE(aligned_alloc(opaque(std::size_t{24}), 48) == nullptr && errno == EINVAL);
  for (int i = 0; i < 16; ++i) REQUIRE(aligned(memalign(opaque(std::size_t{24}), 48), 32));  // one may be by chance
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  REQUIRE(aligned(valloc(1), page) && aligned(pvalloc(1), page) && malloc_usable_size(pvalloc(page + 1)) >= 2 * page);
}

void resizing() {
  void* block = opaque(std::realloc(nullptr, 100));
  REQUIRE(block != nullptr && in_global_range(block));
  errno = 5;
  REQUIRE(std::realloc(block, opaque(std::size_t{0})) == nullptr && errno == 5);
  unsigned char* bytes = static_cast<unsigned char*>(std::malloc(1));
  bytes[0] = 0;
  std::size_t held = 1;
  for (std::size_t wanted = 1; wanted < (std::size_t{64} << 20); wanted = wanted * 3 / 2 + 1) {
    bytes = static_cast<unsigned char*>(std::realloc(bytes, wanted));
    REQUIRE(bytes != nullptr);
    for (std::size_t i = 0; i < held; i += 509) REQUIRE(bytes[i] == static_cast<unsigned char>(i));
    for (std::size_t i = 0; i < wanted; ++i) bytes[i] = static_cast<unsigned char>(i);
    held = wanted;
  }
  while (held > 1) {
    held = held / 3 + 1;
    bytes = static_cast<unsigned char*>(std::realloc(bytes, held));
    for (std::size_t i = 0; i < held; ++i) REQUIRE(bytes[i] == static_cast<unsigned char>(i));
    if (held <= 2) break;
  }
  std::free(bytes);
}

void zeroed() {
  for (const std::size_t bytes : {std::size_t{8}, std::size_t{1000}, std::size_t{70'000}, std::size_t{9} << 20}) {
    for (int round = 0; round < 20; ++round) {
      auto* dirty = static_cast<char*>(std::malloc(bytes));
      std::memset(opaque(dirty), 0xee, bytes);
      std::free(dirty);
      auto* clean = static_cast<char*>(std::calloc(bytes / 8, 8));
      for (std::size_t i = 0; i < bytes / 8 * 8; ++i) REQUIRE(clean[i] == 0);
      std::free(clean);
    }
  }
}

void freeing() {
  errno = 42;
  std::free(nullptr);
  REQUIRE(malloc_usable_size(nullptr) == 0);
  std::vector<void*> blocks;
  for (std::size_t bytes = 1; bytes < (std::size_t{1} << 28); bytes *= 2) blocks.push_back(std::malloc(bytes));
  for (void* block : blocks) {
    errno = 42;
    std::free(block);
    REQUIRE(errno == 42);
  }
}

struct alignas(256) Wide {
  char bytes[300];
};

int handler_calls = 0;
void no_memory() {
  if (++handler_calls == 3) std::set_new_handler(nullptr);
}
void gives_up() {
  ++handler_calls;
  throw std::bad_alloc();
}

void operators() {
  delete opaque(new int(3));
  delete[] opaque(new int[100]);
  Wide* wide = opaque(new Wide);
  REQUIRE(aligned(wide, 256) && in_global_range(wide));
  delete wide;
  delete[] opaque(new Wide[7]);
  ::operator delete (::operator new(10), std::size_t{10});
  ::operator delete[](::operator new[](0), std::size_t{0});
  ::operator delete(::operator new(10, std::nothrow), std::nothrow);
  ::operator delete (::operator new (10, std::align_val_t{512}, std::nothrow), std::align_val_t{512}, std::nothrow);
  ::operator delete[](::operator new[](1000, std::align_val_t{512}), std::size_t{1000}, std::align_val_t{512});
  REQUIRE(::operator new(opaque(kHuge), std::nothrow) == nullptr);
  bool thrown = false;
  try {
    static_cast<void>(opaque(::operator new(opaque(kHuge))));
  } catch (const std::bad_alloc&) {
    thrown = true;
  }
  REQUIRE(thrown && std::uncaught_exceptions() == 0);
  std::set_new_handler(no_memory);
  thrown = false;
  try {
    static_cast<void>(opaque(::operator new (opaque(kHuge), std::align_val_t{64})));
  } catch (const std::bad_alloc&) {
    thrown = true;
  }
  REQUIRE(thrown && handler_calls == 3);
  std::set_new_handler(gives_up);
  REQUIRE(::operator new[](opaque(kHuge), std::nothrow) == nullptr);
  REQUIRE(handler_calls == 4 && std::uncaught_exceptions() == 0);  // it was asked, and its exception went no further
}

// Before main and after it.
struct Early {
  Early() : block(std::malloc(100)), text(new std::string(1000, 'x')) { std::memset(block, 7, 100); }
  ~Early() {
    REQUIRE(static_cast<char*>(block)[99] == 7 && text->size() == 1000);
    std::free(block);
    delete text;
    std::free(std::malloc(10));
  }
  void* block;
  std::string* text;
} early;

// Before any library of the process has been initialised: the memory is libc's, whoever resizes or frees it later.
struct Earliest {
  char* resized;
  void* freed;
} earliest;

void make_earliest(int, char**, char**) {
  earliest = {static_cast<char*>(std::malloc(100)), std::malloc(100)};
  std::memset(earliest.resized, 7, 100);
}
[[gnu::section(".preinit_array"), gnu::used]] void (*const at_first)(int, char**, char**) = make_earliest;

void before_main() {
  REQUIRE(!in_global_range(earliest.resized) && !in_global_range(earliest.freed));
  earliest.resized = static_cast<char*>(std::realloc(opaque(earliest.resized), 5000));
  REQUIRE(in_global_range(earliest.resized));
  for (std::size_t i = 0; i < 100; ++i) REQUIRE(earliest.resized[i] == 7);
  std::free(earliest.resized);
  errno = 42;
  std::free(opaque(earliest.freed));
  REQUIRE(errno == 42);
  early.block = std::realloc(early.block, 5000);
  REQUIRE(early.block != nullptr && static_cast<char*>(early.block)[99] == 7);
}

// --- threads --------------------------------------------------------------------------------------------------------

// Its destructor outlives jemalloc's data of the thread: destructors come in several rounds.
pthread_key_t late_key;
std::atomic<int> late_rounds{0};

void at_thread_end(void* block) {
  REQUIRE(in_global_range(block) && malloc_usable_size(block) >= 100);
  auto* other = static_cast<char*>(std::calloc(1, 5000));
  REQUIRE(in_global_range(other) && other[4999] == 0);
  other = static_cast<char*>(std::realloc(other, 50'000));
  REQUIRE(in_global_range(other) && other[4999] == 0);
  REQUIRE(in_global_range(opaque(aligned_alloc(4096, 4096))));
  std::free(other);
  delete opaque(new int(1));
  std::free(block);
  if (late_rounds.fetch_add(1) % 3 != 2) pthread_setspecific(late_key, std::malloc(100));
}

void thread_ends() {
  pthread_key_t keys[20];  // on both sides of jemalloc's
  for (pthread_key_t& key : keys) REQUIRE(pthread_key_create(&key, std::free) == 0);
  REQUIRE(pthread_key_create(&late_key, at_thread_end) == 0);
  for (int round = 0; round < 50; ++round) {
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; ++i) {
      threads.emplace_back([&keys] {
        static thread_local std::string text(2000, 'y');
        REQUIRE(in_global_range(text.data()));
        for (const pthread_key_t key : keys) pthread_setspecific(key, std::malloc(64));
        pthread_setspecific(late_key, std::malloc(100));
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
  REQUIRE(late_rounds.load() >= 400);
}

void many_threads() {
  std::vector<std::thread> threads;
  std::atomic<int> done{0};
  for (int i = 0; i < 400; ++i) {
    threads.emplace_back([&done] {
      std::vector<void*> blocks;
      for (std::size_t bytes = 1; bytes < 100'000; bytes = bytes * 2 + 1) {
        blocks.push_back(std::malloc(bytes));
        REQUIRE(in_global_range(blocks.back()));
        std::memset(blocks.back(), 1, bytes);
      }
      for (void* block : blocks) std::free(block);
      ++done;
    });
  }
  for (std::thread& thread : threads) thread.join();
  REQUIRE(done == 400);
}

// dlopen and dlclose, and a thread that ends after the library whose thread_local it used has been closed.
void libraries() {
  const std::string path = std::filesystem::read_symlink("/proc/self/exe").parent_path() / "preload_plugin.so";
  for (int round = 0; round < 50; ++round) {
    std::string* made = nullptr;
    std::thread([&] {
      void* library = dlopen(path.c_str(), RTLD_NOW);
      REQUIRE(library != nullptr);
      auto make = reinterpret_cast<std::string* (*)()>(dlsym(library, "plugin_make"));
      REQUIRE(make != nullptr && dlsym(library, "no_such_symbol") == nullptr && dlerror() != nullptr);
      made = make();
      REQUIRE(dlclose(library) == 0);
    }).join();
    REQUIRE(in_global_range(made) && made->size() == 1000);
    delete made;
  }
}

constexpr Case kCases[] = {{"zero_bytes", zero_bytes},     {"overflow", overflow},       {"alignment", alignment},
                           {"resizing", resizing},         {"zeroed", zeroed},           {"freeing", freeing},
                           {"operators", operators},       {"before_main", before_main}, {"thread_ends", thread_ends},
                           {"many_threads", many_threads}, {"libraries", libraries}};

}  // namespace

int main(int argc, char** argv) {
  for (const Case& test : kCases) {
    if (argc == 2 && std::string(argv[1]) == test.name) {
      test.run();
      say_good();
      return 0;
    }
  }
  std::fputs("usage: corners CASE\n", stderr);
  return 2;
}
