#include "cluster/signal_desk.h"

#include <sys/signalfd.h>

#include <cerrno>

namespace dsm::cluster {

namespace {

constexpr int kWatched[] = {SIGCHLD, SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGTSTP, SIGCONT};

}  // namespace

Result<SignalDesk> SignalDesk::open() {
  SignalDesk desk;
  sigset_t watched;
  sigemptyset(&watched);
  for (const int signal : kWatched) sigaddset(&watched, signal);
  if (::pthread_sigmask(SIG_BLOCK, &watched, &desk.mask_) != 0) {
    return fail(Errc::kSystem, "cannot block signals", errno);
  }
  // A reader of our output that goes away is an error of write(2), and a terminal that is another's is one of read(2).
  struct sigaction ignore {};
  ignore.sa_handler = SIG_IGN;
  ::sigaction(SIGPIPE, &ignore, &desk.pipe_);
  ::sigaction(SIGTTIN, &ignore, &desk.tty_in_);
  // SIGCHLD may have been ignored by who started us; children would then vanish without a status.
  struct sigaction child {};
  child.sa_handler = SIG_DFL;
  ::sigaction(SIGCHLD, &child, nullptr);
  desk.fd_.reset(::signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!desk.fd_) return fail(Errc::kSystem, "cannot open a descriptor for signals", errno);
  return desk;
}

std::optional<int> SignalDesk::next() const {
  signalfd_siginfo info{};
  if (::read(fd_.get(), &info, sizeof info) != static_cast<ssize_t>(sizeof info)) return std::nullopt;
  return static_cast<int>(info.ssi_signo);
}

void SignalDesk::restore() const {
  ::sigaction(SIGPIPE, &pipe_, nullptr);
  ::sigaction(SIGTTIN, &tty_in_, nullptr);
  ::pthread_sigmask(SIG_SETMASK, &mask_, nullptr);
}

}  // namespace dsm::cluster
