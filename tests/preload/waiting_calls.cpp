// System calls that wait, and whose memory is pushed out meanwhile. What they hand over is gone when they have taken
// it: it must come over at the first try. Says "good" when all is as it is without the library.
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
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

// Addresses, control messages, several messages at once, and what is thrown away.
void messages() {
  const int receiver = socket(AF_INET, SOCK_DGRAM, 0), sender = socket(AF_INET, SOCK_DGRAM, 0);
  sockaddr_in here{};
  here.sin_family = AF_INET;
  here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t bytes = sizeof here;
  auto* const to = reinterpret_cast<sockaddr*>(&here);
  REQUIRE(bind(receiver, to, bytes) == 0 && getsockname(receiver, to, &bytes) == 0 && connect(sender, to, bytes) == 0);
  const int on = 1;
  REQUIRE(setsockopt(receiver, IPPROTO_IP, IP_PKTINFO, &on, sizeof on) == 0);
  const auto send_three = [&] {
    for (char c = 'a'; c < 'd'; ++c) REQUIRE(send(sender, &c, 1, 0) == 1);
  };
  auto* const from = fresh<sockaddr_in>(2);
  auto* const length = fresh<socklen_t>();
  auto* const text = fresh<char>(kPage);
  *length = sizeof *from;
  std::thread other = while_waiting(send_three);
  REQUIRE(recvfrom(receiver, text, kPage, 0, reinterpret_cast<sockaddr*>(from), length) == 1 && text[0] == 'a');
  other.join();
  REQUIRE(*length == sizeof *from && from->sin_port != 0 && from[1].sin_family == 0);
  auto* const many = fresh<mmsghdr>(4);
  auto* const control = fresh<char>(256);
  auto* const parts = fresh<iovec>(4);
  for (std::size_t i = 0; i < 4; ++i) {
    parts[i] = {text + i * 8, 8};
    many[i].msg_hdr.msg_iov = &parts[i];
    many[i].msg_hdr.msg_iovlen = 1;
  }
  many[0].msg_hdr.msg_control = control;
  many[0].msg_hdr.msg_controllen = 256;
  many[1].msg_hdr.msg_name = from + 1;
  many[1].msg_hdr.msg_namelen = sizeof *from;
  push_out();
  REQUIRE(recvmmsg(receiver, many, 4, MSG_DONTWAIT, nullptr) == 2 && text[0] == 'b' && text[8] == 'c');
  REQUIRE(many[0].msg_len == 1 && CMSG_FIRSTHDR(&many[0].msg_hdr)->cmsg_type == IP_PKTINFO);
  REQUIRE(many[1].msg_hdr.msg_namelen == sizeof *from && from[1].sin_port == from[0].sin_port);
  other = while_waiting(send_three);
  REQUIRE(recvmmsg(receiver, many, 3, MSG_WAITFORONE, nullptr) >= 1 && text[0] == 'a');
  other.join();
  close(receiver);
  close(sender);
}

// The kernel writes a part of a structure: what others store to the rest meanwhile stays.
pollfd* changed = nullptr;
void change(int) { changed->events = POLLIN | POLLPRI; }

void structures() {
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  changed = fresh<pollfd>();
  *changed = {ends[0], POLLIN, 0};
  struct sigaction action {};
  action.sa_handler = change;
  REQUIRE(sigaction(SIGUSR1, &action, nullptr) == 0);
  const pthread_t me = pthread_self();
  std::thread other = while_waiting([me] { pthread_kill(me, SIGUSR1); });
  REQUIRE(poll(changed, 1, -1) == -1 && errno == EINTR && changed->events == (POLLIN | POLLPRI));
  other.join();
  auto* const wanted = fresh<timespec>(kPage / sizeof(timespec) + 1);  // the last is on another page
  auto* const left = wanted + kPage / sizeof(timespec);
  wanted->tv_sec = 3600;
  other = while_waiting([me] { pthread_kill(me, SIGUSR1); });
  REQUIRE(nanosleep(wanted, left) == -1 && errno == EINTR && left->tv_sec > 3000);
  other.join();
  wanted->tv_sec = 0;
  wanted->tv_nsec = 1'000'000;
  push_out();
  REQUIRE(nanosleep(wanted, left) == 0);
  auto* const set = fresh<fd_set>(16);
  auto* const behind = reinterpret_cast<unsigned char*>(set) + 1000;  // the kernel looks at as many as can be open
  FD_SET(ends[0], set);
  other = while_waiting([&] {
    *behind = 77;
    REQUIRE(write(ends[1], "x", 1) == 1);
  });
  REQUIRE(syscall(SYS_select, 8192, set, nullptr, nullptr, nullptr) == 1 && FD_ISSET(ends[0], set) && *behind == 77);
  other.join();
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
  auto* const all = fresh<sigset_t>();
  *all = set;
  auto* const info = fresh<siginfo_t>();
  const pthread_t me = pthread_self();
  other = while_waiting([me] { pthread_kill(me, SIGUSR2); });
  REQUIRE(sigwaitinfo(all, info) == SIGUSR2 && info->si_signo == SIGUSR2);
  other.join();
}

}  // namespace

int main() {
  used = fresh<char>(kUsed);
  sockets();
  messages();
  structures();
  descriptors();
  others();
  std::puts("good");
}
