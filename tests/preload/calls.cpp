// System calls on memory of the heap that is mostly elsewhere: each case pushes its memory out before the call, and
// looks at what the call has done. Says "good" when all is as it is without the library.
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "tests/preload/pushed_out.h"

namespace {

std::FILE* file_of(std::size_t bytes) {
  std::FILE* const file = std::tmpfile();
  REQUIRE(file != nullptr);
  std::vector<char> text(bytes);
  for (std::size_t i = 0; i < bytes; ++i) text[i] = pattern(i);
  REQUIRE(std::fwrite(text.data(), 1, bytes, file) == bytes && std::fflush(file) == 0);
  std::rewind(file);
  return file;
}

// Straight between the kernel and the program's buffer, as libc does with large ones; more than there is room for, too.
void large_streams() {
  for (const std::size_t bytes : {std::size_t{300'000}, std::size_t{12} << 20}) {
    std::FILE* const file = file_of(bytes);
    auto* const text = fresh<char>(bytes + 1);
    push_out();
    REQUIRE(std::fread(text, 1, bytes, file) == bytes && is_pattern(text, bytes));
    std::FILE* const copy = std::tmpfile();
    push_out();
    REQUIRE(std::fwrite(text, 1, bytes, copy) == bytes && std::fflush(copy) == 0);
    REQUIRE(lseek(fileno(copy), 0, SEEK_END) == static_cast<off_t>(bytes));
    std::replace(text, text + bytes, '\0', 'x');
    std::rewind(copy);
    push_out();
    REQUIRE(std::fputs(text, copy) >= 0 && std::fprintf(copy, "%s\n", text) > 0 && std::fclose(copy) == 0);
    std::fclose(file);
    std::free(text);
  }
}

void large_calls() {
  constexpr std::size_t kBytes = 12 << 20;
  std::FILE* const file = file_of(kBytes);
  const int fd = fileno(file);
  auto* const text = fresh<char>(kBytes);
  push_out();
  REQUIRE(pread(fd, text, kBytes, 0) == kBytes && is_pattern(text, kBytes));
  push_out();
  REQUIRE(pwrite(fd, text, kBytes, kBytes) == kBytes);
  std::memset(text, 0, kBytes);
  REQUIRE(lseek(fd, kBytes, SEEK_SET) == kBytes && read(fd, text, kBytes) == kBytes && is_pattern(text, kBytes));
  REQUIRE(write(fd, text, kBytes) == kBytes && lseek(fd, 0, SEEK_CUR) == 3 * kBytes);
  std::fclose(file);
  std::free(text);
}

// A pipe gives what it has, and no more is waited for.
void pipes() {
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  auto* const text = fresh<char>(4 << 20);
  push_out();
  REQUIRE(write(ends[1], text, 5000) == 5000);
  push_out();
  REQUIRE(read(ends[0], text, 4 << 20) == 5000);
  std::thread writer([&] { REQUIRE(write(ends[1], text, 2 << 20) == 2 << 20); });
  auto* const got = fresh<char>(4 << 20);
  for (ssize_t all = 0; all < 2 << 20;) {
    const ssize_t some = read(ends[0], got, 4 << 20);
    REQUIRE(some > 0);
    all += some;
  }
  writer.join();
  auto* const polled = fresh<pollfd>(2);
  polled[0] = {ends[0], POLLIN, 0};
  polled[1] = {ends[1], POLLOUT, 0};
  push_out();
  REQUIRE(poll(polled, 2, 0) == 1 && polled[1].revents == POLLOUT);
  close(ends[0]);
  close(ends[1]);
}

void names_and_structs() {
  auto* const name = fresh<char>(kPage);
  std::strcpy(name, "/proc/self/exe");
  auto* const status = fresh<struct stat>();
  auto* const link = fresh<char>(kPage);
  push_out();
  REQUIRE(stat(name, status) == 0 && S_ISREG(status->st_mode));
  push_out();
  REQUIRE(readlink(name, link, kPage) > 0 && std::strstr(link, "calls") != nullptr);
  push_out();
  const int fd = open(name, O_RDONLY);
  REQUIRE(fd >= 0 && fstat(fd, status) == 0 && close(fd) == 0);
  push_out();
  REQUIRE(getcwd(link, kPage) == link && link[0] == '/');
  auto* const ended = fresh<int>();
  const pid_t child = fork();
  if (child == 0) _exit(7);
  push_out();
  REQUIRE(waitpid(child, ended, 0) == child && WIFEXITED(*ended) && WEXITSTATUS(*ended) == 7);
  push_out();
  REQUIRE(syscall(SYS_write, -1, name, 1) == -1 && errno == EBADF);
  REQUIRE(stat("/nowhere", status) == -1 && errno == ENOENT);
}

void sockets() {
  int ends[2];
  REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
  auto* const text = patterned(1 << 16);
  auto* const back = fresh<char>(1 << 16);
  push_out();
  REQUIRE(send(ends[0], text, 1 << 16, 0) == 1 << 16);
  push_out();
  REQUIRE(recv(ends[1], back, 1 << 16, MSG_WAITALL) == 1 << 16 && is_pattern(back, 1 << 16));
  auto* const parts = fresh<iovec>(2);
  parts[0] = {text, 5000};
  parts[1] = {text + 5000, 5000};
  push_out();
  REQUIRE(writev(ends[0], parts, 2) == 10'000 && recv(ends[1], back, 1 << 16, 0) == 10'000 && is_pattern(back, 10'000));
  // A buffer that is larger than the local memory: what comes fills a part of it.
  constexpr std::size_t kLarge = 12 << 20;
  auto* const large = fresh<char>(kLarge);
  std::thread sender([&] {
    for (std::size_t sent = 0; sent < kLarge; sent += 1 << 16) REQUIRE(send(ends[0], text, 1 << 16, 0) == 1 << 16);
  });
  for (std::size_t got = 0; got < kLarge;) {
    const ssize_t some = recv(ends[1], large + got, kLarge - got, 0);
    REQUIRE(some > 0);
    got += static_cast<std::size_t>(some);
  }
  sender.join();
  for (std::size_t at = 0; at < kLarge; at += 1 << 16) REQUIRE(is_pattern(large + at, 1 << 16));
  close(ends[0]);
  close(ends[1]);
}

// Memory that is named in vectors, which are named in headers.
void vectors() {
  int ends[2];
  REQUIRE(socketpair(AF_UNIX, SOCK_DGRAM, 0, ends) == 0);
  auto* const text = patterned(1 << 16);
  auto* const back = fresh<char>(1 << 16);
  auto* const parts = fresh<iovec>(4);
  auto* const messages = fresh<mmsghdr>(2);
  for (std::size_t i = 0; i < 4; ++i) {
    parts[i] = {(i < 2 ? text : back) + i % 2 * 5000, 5000};
  }
  for (std::size_t i = 0; i < 2; ++i) {
    messages[i].msg_hdr.msg_iov = &parts[i];
    messages[i].msg_hdr.msg_iovlen = 1;
  }
  push_out();
  REQUIRE(sendmmsg(ends[0], messages, 2, 0) == 2 && messages[1].msg_len == 5000);
  for (std::size_t i = 0; i < 2; ++i) messages[i].msg_hdr.msg_iov = &parts[2 + i];
  push_out();
  REQUIRE(recvmmsg(ends[1], messages, 2, MSG_DONTWAIT, nullptr) == 2 && is_pattern(back, 10'000));
  // Buffers for more than there is room for: not all are served at once, and nothing is lost.
  constexpr std::size_t kMany = 160, kEach = 1 << 16;
  auto* const rooms = fresh<char>(kMany * kEach);
  auto* const many = fresh<mmsghdr>(kMany);
  auto* const room = fresh<iovec>(kMany);
  for (std::size_t i = 0; i < kMany; ++i) {
    room[i] = {rooms + i * kEach, kEach};
    many[i].msg_hdr.msg_iov = &room[i];
    many[i].msg_hdr.msg_iovlen = 1;
  }
  for (std::size_t got = 0; got < kMany;) {
    for (int sent = 0; sent < 4; ++sent) REQUIRE(send(ends[0], text, 1000, 0) == 1000);
    push_out();
    for (int came = 0; came < 4;) {
      const int some = recvmmsg(ends[1], many + got, static_cast<unsigned>(kMany - got), MSG_DONTWAIT, nullptr);
      REQUIRE(some > 0);
      came += some;
      got += static_cast<std::size_t>(some);
    }
  }
  for (std::size_t i = 0; i < kMany; ++i) REQUIRE(many[i].msg_len == 1000 && is_pattern(rooms + i * kEach, 1000));
  std::FILE* const file = std::tmpfile();
  push_out();
  REQUIRE(pwritev2(fileno(file), parts, 2, 0, 0) == 10'000);
  std::fill(back, back + (1 << 16), '\0');
  push_out();
  REQUIRE(preadv2(fileno(file), parts + 2, 2, 0, 0) == 10'000 && is_pattern(back, 10'000));
  std::fill(back, back + (1 << 16), '\0');
  char copy[5000];
  std::copy(text, text + 5000, copy);
  iovec here = parts[2];
  iovec there = {copy, sizeof copy};
  push_out();
  REQUIRE(process_vm_readv(getpid(), &here, 1, &there, 1, 0) == 5000 && is_pattern(back, 5000));
  std::fclose(file);
  close(ends[0]);
  close(ends[1]);
}

// A thread is cancelled in a call that waits, and cleans up.
void cancelling() {
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  auto* const text = fresh<char>(kPage);
  struct State {
    std::atomic<bool> begun{false}, cleaned{false}, destroyed{false};
  } state;
  push_out();
  std::thread thread([&] {
    struct Destroyed {
      State& state;
      ~Destroyed() { state.destroyed = true; }
    } const last{state};
    pthread_cleanup_push([](void* of) { static_cast<State*>(of)->cleaned = true; }, &state);
    state.begun = true;
    static_cast<void>(read(ends[0], text, kPage));
    pthread_cleanup_pop(0);
  });
  while (!state.begun) usleep(1000);
  usleep(20'000);  // it waits by then, or is cancelled as it begins to
  REQUIRE(pthread_cancel(thread.native_handle()) == 0);
  thread.join();
  REQUIRE(state.cleaned && state.destroyed);
  close(ends[0]);
  close(ends[1]);
}

// Lock words that the kernel looks at.
void locks() {
  auto* const lock = fresh<pthread_mutex_t>();
  pthread_mutex_init(lock, nullptr);
  auto* const ready = fresh<pthread_cond_t>();
  pthread_cond_init(ready, nullptr);
  int turn = 0;
  const auto play = [&](int me) {
    for (int i = 0; i < 8; ++i) {
      pthread_mutex_lock(lock);
      while (turn % 2 != me) pthread_cond_wait(ready, lock);
      ++turn;
      pthread_cond_broadcast(ready);
      pthread_mutex_unlock(lock);
      for (std::size_t at = 0; at < kUsed; at += kPage) static_cast<void>(used[at]);
    }
  };
  std::thread other(play, 1);
  play(0);
  other.join();
  REQUIRE(turn == 16);
}

std::atomic<int> handled{0};
void note(int) { ++handled; }

// A call that waits is interrupted as ever, and a signal finds a stack of the heap.
void signals() {
  stack_t stack{};
  stack.ss_size = 1 << 16;
  stack.ss_sp = fresh<char>(stack.ss_size);
  stack_t before{};
  REQUIRE(sigaltstack(&stack, nullptr) == 0 && sigaltstack(nullptr, &before) == 0 && before.ss_sp == stack.ss_sp);
  struct sigaction action {};
  action.sa_handler = note;
  action.sa_flags = SA_ONSTACK;
  REQUIRE(sigaction(SIGUSR1, &action, nullptr) == 0);
  push_out();
  REQUIRE(raise(SIGUSR1) == 0 && handled == 1);
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  auto* const text = fresh<char>(kPage);
  std::atomic<bool> waits{true};
  const pthread_t me = pthread_self();
  std::thread sender([&] {
    while (waits) {
      usleep(20'000);
      pthread_kill(me, SIGUSR1);
    }
  });
  push_out();
  errno = 0;
  const ssize_t got = read(ends[0], text, kPage);
  waits = false;
  REQUIRE(got == -1 && errno == EINTR && handled > 1);
  sender.join();
  stack.ss_flags = SS_DISABLE;
  REQUIRE(sigaltstack(&stack, nullptr) == 0);
  sigset_t all;
  sigfillset(&all);
  REQUIRE(sigprocmask(SIG_BLOCK, &all, nullptr) == 0);
  push_out();
  REQUIRE(write(ends[1], text, kPage) == kPage);
}

}  // namespace

int main() {
  used = fresh<char>(kUsed);
  large_streams();
  large_calls();
  pipes();
  names_and_structs();
  sockets();
  vectors();
  cancelling();
  locks();
  signals();
  std::puts("good");
}
