// fork, exec, signals, descriptors and limits of a program that knows nothing of libdsm: `processes CASE [argument]`.
#include <dirent.h>
#include <fcntl.h>
#include <pwd.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "check.h"

extern "C" void early_use_lock();

namespace {

int ended(pid_t child) {
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

// The child has the heap as it was at the fork, whatever the parent does, and the other way round; both allocate on.
void child_has_a_copy() {
  std::vector<std::vector<int>> heap(1000, std::vector<int>(1000, 1));
  const pid_t child = fork();
  REQUIRE(child >= 0);
  for (int round = 0; round < 20; ++round) {
    for (auto& part : heap) {
      for (int& value : part) {
        REQUIRE(value == (round == 0 ? 1 : child == 0 ? 2 * round : 2 * round + 1));
        value = child == 0 ? 2 * (round + 1) : 2 * (round + 1) + 1;
      }
      std::vector<int> moved = part;
      part.swap(moved);
    }
  }
  void* const more = std::malloc(300 << 20);
  REQUIRE(more != nullptr && in_global_range(more));
  if (child == 0) std::exit(7);
  REQUIRE(ended(child) == 7);
}

// Forks while threads allocate, free and drop memory: no lock is left behind in a child.
void fork_among_threads() {
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&stop, i] {
      for (std::size_t step = 0; !stop; ++step) {
        void* block = std::malloc((step * 7919 + static_cast<std::size_t>(i)) % (1 << 21));
        REQUIRE(block != nullptr);
        std::memset(block, 1, 8);
        std::free(block);
      }
    });
  }
  for (int round = 0; round < 100; ++round) {
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      for (std::size_t bytes = 1; bytes < (8 << 20); bytes = bytes * 2 + 1) std::free(std::malloc(bytes));
      _exit(0);
    }
    REQUIRE(ended(child) == 0);
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
}

// A thread writes first one page and then another, without end: no child ever sees the second ahead of the first.
void one_moment() {
  constexpr std::size_t kPages = 2000;
  constexpr std::size_t kWords = 4096 / sizeof(long);
  auto* words = static_cast<std::atomic<long>*>(aligned_alloc(4096, kPages * 4096));
  for (std::size_t i = 0; i < kPages * kWords; ++i) words[i] = 0;
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    for (long value = 1; !stop; ++value) {
      for (std::size_t i = 0; i < kPages; ++i) words[i * 997 % kPages * kWords] = value;
    }
  });
  for (int round = 0; round < 10; ++round) {
    while (words[0] < round + 2) {
    }
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      long before = words[0];
      long steps = 0;
      for (std::size_t i = 0; i < kPages; ++i) {
        const long value = words[i * 997 % kPages * kWords];
        steps += before - value;
        if (value > before || steps > 1) _exit(1);
        before = value;
      }
      _exit(words[0] > round + 1 ? 0 : 2);
    }
    REQUIRE(ended(child) == 0);
  }
  stop = true;
  writer.join();
}

void grandchildren() {
  for (int generation = 0; generation < 5; ++generation) {
    const pid_t child = fork();
    REQUIRE(child >= 0);
    std::string text(100'000, static_cast<char>('a' + generation));
    REQUIRE(in_global_range(text.data()));
    if (child == 0) continue;
    REQUIRE(ended(child) == 0);
    if (generation == 0) return;
    _exit(0);
  }
  _exit(0);
}

void starting_programs() {
  REQUIRE(std::system("exit 3") == 3 << 8);
  std::FILE* pipe = popen("echo from the shell", "r");
  char line[100] = "";
  REQUIRE(pipe != nullptr && std::fgets(line, sizeof line, pipe) != nullptr);
  REQUIRE(std::strcmp(line, "from the shell\n") == 0 && pclose(pipe) == 0);
  char name[] = "/bin/true";
  char* args[] = {name, nullptr};
  pid_t child = 0;
  REQUIRE(posix_spawn(&child, name, nullptr, nullptr, args, environ) == 0 && ended(child) == 0);
  child = vfork();
  if (child == 0) {
    execv(name, args);
    _exit(9);
  }
  REQUIRE(ended(child) == 0);
  // What is started does not run on the library, unless it is asked for.
  const bool children = std::getenv("DSM_CHILDREN") != nullptr;
  const char* look = "case $LD_PRELOAD in *libdsm_preload.so*) exit 1;; *) exit 0;; esac";
  REQUIRE(std::system(look) == (children ? 1 << 8 : 0));
  REQUIRE(std::system("test -z \"$DSM_CONTROL_FD\"") == 0);
}

// libc hands the kernel memory that it has allocated for itself, while what the program uses pushes pages out.
void streams_with(bool give_buffer) {
  constexpr std::size_t kLines = 20'000, kUsed = 24 << 20, kBuffer = 64 << 10;
  auto* const used = static_cast<char*>(std::malloc(kUsed));
  std::FILE* const file = std::tmpfile();
  REQUIRE(used != nullptr && file != nullptr);
  if (give_buffer) REQUIRE(std::setvbuf(file, static_cast<char*>(std::malloc(kBuffer)), _IOFBF, kBuffer) == 0);
  const auto use = [&](std::size_t i) { used[i * 13 % (kUsed >> 12) << 12] = static_cast<char>(i); };
  for (std::size_t i = 0; i < kLines; ++i) {
    REQUIRE(std::fprintf(file, "line %zu\n", i) > 0);
    use(i);
  }
  REQUIRE(std::fflush(file) == 0);
  std::rewind(file);
  char* line = nullptr;
  std::size_t room = 0, read = 0;
  for (; getline(&line, &room, file) > 0; use(++read)) REQUIRE(line == "line " + std::to_string(read) + "\n");
  REQUIRE(read == kLines && std::feof(file) && std::fclose(file) == 0);
  std::free(line);
  DIR* const folder = opendir("/proc/self/fd");
  REQUIRE(folder != nullptr);
  std::size_t entries = 0;
  while (readdir(folder) != nullptr) use(++entries);
  REQUIRE(entries >= 5 && closedir(folder) == 0);  // ".", "..", three streams
  std::free(used);
}

// A child that forks has ordinary memory, whatever its parent's is.
void forks_again() {
  auto* const text = static_cast<char*>(std::malloc(100'000));
  std::memset(text, 1, 100'000);
  const pid_t child = fork();
  if (child == 0) {
    text[0] = 2;
    const pid_t grandchild = fork();
    if (grandchild == 0) {
      char* const more = static_cast<char*>(std::malloc(50'000));
      more[0] = text[0];
      _exit(more[0] == 2 && text[99'999] == 1 ? 0 : 1);
    }
    _exit(ended(grandchild) == 0 && text[0] == 2 ? 0 : 1);
  }
  REQUIRE(ended(child) == 0 && text[0] == 1);
}

// Libraries have locks in allocated memory that a fork finds: libc's of a stream and of its databases, this program's.
void locks_of_libraries() {
  early_use_lock();
  std::FILE* const file = std::fopen("/proc/self/status", "r");
  char line[200];
  REQUIRE(file != nullptr && std::fgets(line, sizeof line, file) != nullptr && getpwuid(0) != nullptr);
  for (int round = 0; round < 3; ++round) {
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      REQUIRE(std::fgets(line, sizeof line, file) != nullptr && getpwuid(0) != nullptr);
      std::exit(std::fclose(file));
    }
    REQUIRE(ended(child) == 0 && getpwuid(0) != nullptr);
  }
  REQUIRE(std::fclose(file) == 0);
}

void streams() { streams_with(false); }
void streams_with_buffers() { streams_with(true); }

// How many there are that the program has neither opened nor inherited.
std::size_t descriptors_of_others() {
  DIR* const folder = opendir("/proc/self/fd");
  REQUIRE(folder != nullptr);
  std::size_t found = 0;
  while (const dirent* const entry = readdir(folder)) {
    const int fd = std::atoi(entry->d_name);
    if (fd >= 200 && fcntl(fd, F_GETFD) == FD_CLOEXEC) ++found;
  }
  closedir(folder);
  return found;
}

// A program that closes whatever it has not opened, and that counts on the lowest free number.
void descriptors() {
  const std::size_t others = descriptors_of_others();
  const int first = open("/dev/null", O_RDONLY);
  REQUIRE(first >= 0 && first < 20);
  for (int fd = 3; fd < 1024; ++fd) close(fd);
  REQUIRE(close_range(3, ~0U, 0) == 0);
  closefrom(3);
  errno = 0;
  REQUIRE(close(500) == -1 && errno == EBADF);
  REQUIRE(open("/dev/null", O_RDONLY) == 3);
  REQUIRE(dup2(3, 4) == 4 && dup3(3, 5, O_CLOEXEC) == 5);
  REQUIRE(descriptors_of_others() == others);
  std::free(std::malloc(100 << 20));
}

void limited() {
  rlimit limit{std::size_t{400} << 30, std::size_t{400} << 30};
  REQUIRE(setrlimit(RLIMIT_AS, &limit) == 0);
  std::vector<void*> blocks;
  errno = 0;
  while (void* block = std::malloc(std::size_t{1} << 30)) blocks.push_back(block);
  REQUIRE(errno == ENOMEM && !blocks.empty());
  for (void* block : blocks) std::free(block);
  REQUIRE(std::malloc(1000) != nullptr);
}

// --- signals --------------------------------------------------------------------------------------------------------

volatile char* closed_page;
volatile sig_atomic_t handled = 0;
void* volatile handler_frame = nullptr;

void open_page(int number, siginfo_t* info, void* context) {
  REQUIRE(number == SIGSEGV && info->si_code == SEGV_ACCERR && context != nullptr);
  REQUIRE(info->si_addr == closed_page + handled % 10);
  sigset_t mask;
  sigprocmask(SIG_BLOCK, nullptr, &mask);
  REQUIRE(sigismember(&mask, SIGUSR1) == 1 && sigismember(&mask, SIGUSR2) == 0);
  handler_frame = __builtin_frame_address(0);
  handled = handled + 1;
  mprotect(const_cast<char*>(closed_page), 4096, PROT_READ | PROT_WRITE);
}

void close_page() { REQUIRE(mprotect(const_cast<char*>(closed_page), 4096, PROT_NONE) == 0); }

// A collector's write barrier: the program's own pages in the global heap, closed and opened by its own handler.
void own_handler() {
  closed_page = static_cast<char*>(aligned_alloc(4096, 4096));
  struct sigaction action {};
  struct sigaction before {};
  action.sa_sigaction = open_page;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigaddset(&action.sa_mask, SIGUSR1);
  REQUIRE(sigaction(SIGSEGV, &action, &before) == 0 && before.sa_handler == SIG_DFL);
  REQUIRE(sigaction(SIGSEGV, nullptr, &before) == 0 && before.sa_sigaction == open_page);
  REQUIRE((before.sa_flags & SA_SIGINFO) != 0 && sigismember(&before.sa_mask, SIGUSR1) == 1);
  std::vector<char> stack(1 << 16);
  stack_t alternate{stack.data(), 0, stack.size()};
  REQUIRE(sigaltstack(&alternate, nullptr) == 0);
  const bool shadowed = std::getenv("STACK_HAS_SHADOW") != nullptr;
  for (int round = 0; round < 10; ++round) {
    close_page();
    closed_page[round] = 1;
    REQUIRE(handled == round + 1);
    const bool on_it = handler_frame >= stack.data() && handler_frame < stack.data() + stack.size();
    const auto here = reinterpret_cast<std::uintptr_t>(&alternate);
    const bool on_this = here - reinterpret_cast<std::uintptr_t>(handler_frame) < (8 << 20);
    REQUIRE(shadowed ? !in_global_range(handler_frame) && !on_this : on_it);
  }
  close_page();
  action.sa_flags |= static_cast<int>(SA_RESETHAND);
  REQUIRE(sigaction(SIGSEGV, &action, nullptr) == 0);
  closed_page[0] = 1;
  REQUIRE(sigaction(SIGSEGV, nullptr, &before) == 0 && before.sa_handler == SIG_DFL);
  REQUIRE(signal(SIGSEGV, SIG_IGN) == SIG_DFL && signal(SIGSEGV, SIG_DFL) == SIG_IGN);
  REQUIRE(signal(SIGBUS, SIG_IGN) == SIG_DFL && raise(SIGBUS) == 0 && signal(SIGBUS, SIG_DFL) == SIG_IGN);
}

sigjmp_buf back;

void leave(int) { siglongjmp(back, 1); }

bool always = true;

[[gnu::noinline]] int endless(volatile int* deeper) {
  volatile int here[256];
  here[0] = *deeper + 1;
  return always ? endless(here) + here[0] : 0;
}

// A handler on an alternate stack, left by siglongjmp, twice.
void stack_overflow() {
  std::vector<char> stack(1 << 16);
  stack_t alternate{stack.data(), 0, stack.size()};
  REQUIRE(sigaltstack(&alternate, nullptr) == 0);
  struct sigaction action {};
  action.sa_handler = leave;
  action.sa_flags = SA_ONSTACK;
  REQUIRE(sigaction(SIGSEGV, &action, nullptr) == 0);
  static int round;
  for (round = 0; round < 2; ++round) {
    volatile int start = 0;
    if (sigsetjmp(back, 1) == 0) endless(&start);
  }
}

// The program sees its own mask.
void blocked_signals() {
  sigset_t set;
  sigset_t before;
  sigemptyset(&set);
  sigaddset(&set, SIGSEGV);
  sigaddset(&set, SIGUSR1);
  REQUIRE(sigprocmask(SIG_BLOCK, &set, &before) == 0 && sigismember(&before, SIGSEGV) == 0);
  REQUIRE(pthread_sigmask(SIG_BLOCK, nullptr, &before) == 0);
  REQUIRE(sigismember(&before, SIGSEGV) == 1 && sigismember(&before, SIGUSR1) == 1);
  std::vector<int> heap(1'000'000, 3);
  sigemptyset(&set);
  REQUIRE(sigprocmask(SIG_SETMASK, &set, &before) == 0 && sigismember(&before, SIGSEGV) == 1);
  REQUIRE(sigprocmask(SIG_SETMASK, nullptr, &before) == 0 && sigismember(&before, SIGSEGV) == 0);
  REQUIRE(sigprocmask(99, &set, nullptr) == -1 && errno == EINVAL);
}

constexpr Case kCases[] = {{"child_has_a_copy", child_has_a_copy},
                           {"fork_among_threads", fork_among_threads},
                           {"one_moment", one_moment},
                           {"grandchildren", grandchildren},
                           {"starting_programs", starting_programs},
                           {"forks_again", forks_again},
                           {"locks_of_libraries", locks_of_libraries},
                           {"streams", streams},
                           {"streams_with_buffers", streams_with_buffers},
                           {"descriptors", descriptors},
                           {"limited", limited},
                           {"own_handler", own_handler},
                           {"stack_overflow", stack_overflow},
                           {"blocked_signals", blocked_signals}};

}  // namespace

int main(int argc, char** argv) {
  for (const Case& test : kCases) {
    if (argc == 2 && std::string(argv[1]) == test.name) {
      test.run();
      say_good();
      return 0;
    }
  }
  std::fputs("usage: processes CASE\n", stderr);
  return 2;
}
