// System calls that wait, and whose memory is pushed out meanwhile. What they hand over is gone when they have taken
// it: it must come over at the first try. Says "good" when all is as it is without the library.
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <thread>

#include "tests/preload/pushed_out.h"

namespace {

// Starts `act` when the calling thread has been waiting in its call for a while, and its memory has been pushed out.
template <typename Act>
std::thread while_waiting(Act act) {
  return std::thread([act] {
    usleep(20'000);
    push_out();
    act();
  });
}

void sockets() {
  int ends[2];
  REQUIRE(socketpair(AF_UNIX, SOCK_DGRAM, 0, ends) == 0);
  char text[5000];
  for (std::size_t i = 0; i < sizeof text; ++i) text[i] = pattern(i);
  const auto send_it = [&] { REQUIRE(send(ends[0], text, sizeof text, 0) == sizeof text); };
  for (const std::size_t room : {std::size_t{8000}, std::size_t{1} << 20}) {
    auto* const back = fresh<char>(room);
    const auto came = [&] {
      const bool right = is_pattern(back, sizeof text) && back[sizeof text] == 0;
      std::fill(back, back + room, '\0');
      return right;
    };
    auto* const message = fresh<msghdr>();
    message->msg_iov = fresh<iovec>(2);
    message->msg_iov[0] = {back, 1000};
    message->msg_iov[1] = {back + 1000, room - 1000};
    message->msg_iovlen = 2;
    std::thread sender = while_waiting(send_it);
    REQUIRE(recv(ends[1], back, room, 0) == sizeof text && came());
    sender.join();
    sender = while_waiting(send_it);
    REQUIRE(read(ends[1], back, room) == sizeof text && came());
    sender.join();
    sender = while_waiting(send_it);
    REQUIRE(recvmsg(ends[1], message, 0) == sizeof text && came() && message->msg_flags == 0);
    sender.join();
    sender = while_waiting(send_it);
    REQUIRE(readv(ends[1], message->msg_iov, 2) == sizeof text && came());
    sender.join();
  }
  REQUIRE(send(ends[0], text, 3000, 0) == 3000);
  auto* const few = fresh<char>(kPage);
  push_out();
  REQUIRE(recv(ends[1], few, 1000, MSG_TRUNC) == 3000 && is_pattern(few, 1000) && few[1000] == 0);
  close(ends[0]);
  close(ends[1]);
}

void descriptors() {
  const int counter = eventfd(0, 0);
  auto* const count = fresh<std::uint64_t>();
  std::thread other = while_waiting([&] { REQUIRE(eventfd_write(counter, 5) == 0); });
  REQUIRE(read(counter, count, sizeof *count) == sizeof *count && *count == 5);
  other.join();
  close(counter);
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in here{};
  here.sin_family = AF_INET;
  here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t bytes = sizeof here;
  REQUIRE(bind(listener, reinterpret_cast<sockaddr*>(&here), bytes) == 0 && listen(listener, 1) == 0);
  REQUIRE(getsockname(listener, reinterpret_cast<sockaddr*>(&here), &bytes) == 0);
  const int caller = socket(AF_INET, SOCK_STREAM, 0);
  auto* const from = fresh<sockaddr_in>(2);
  auto* const length = fresh<socklen_t>();
  *length = sizeof *from;
  other = while_waiting([&] { REQUIRE(connect(caller, reinterpret_cast<sockaddr*>(&here), sizeof here) == 0); });
  const int accepted = accept(listener, reinterpret_cast<sockaddr*>(from), length);
  other.join();
  REQUIRE(accepted >= 0 && *length == sizeof *from && from->sin_family == AF_INET && from[1].sin_family == 0);
  auto* const polled = fresh<pollfd>(2);
  polled[0] = {accepted, POLLIN, 0};
  other = while_waiting([&] { REQUIRE(send(caller, "x", 1, 0) == 1); });
  REQUIRE(poll(polled, 1, -1) == 1 && polled[0].revents == POLLIN && polled[1].fd == 0);
  other.join();
  for (const int fd : {accepted, caller, listener}) close(fd);
}

void others() {
  auto* const status = fresh<int>(2);
  const pid_t child = fork();
  if (child == 0) {
    usleep(100'000);
    _exit(9);
  }
  std::thread other = while_waiting([] {});
  REQUIRE(waitpid(child, status, 0) == child && WIFEXITED(status[0]) && WEXITSTATUS(status[0]) == 9 && status[1] == 0);
  other.join();
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR2);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  auto* const info = fresh<siginfo_t>();
  const pthread_t me = pthread_self();
  other = while_waiting([me] { pthread_kill(me, SIGUSR2); });
  REQUIRE(sigwaitinfo(&set, info) == SIGUSR2 && info->si_signo == SIGUSR2);
  other.join();
}

}  // namespace

int main() {
  used = fresh<char>(kUsed);
  sockets();
  descriptors();
  others();
  std::puts("good");
}
