#include "cluster/launched_job.h"

#include <fmt/core.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>

#include "base/allocation_gate.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/futex.h"
#include "base/log.h"
#include "base/meta_layout.h"
#include "base/signals.h"
#include "cluster/endings.h"
#include "cluster/exchange.h"
#include "cluster/keeper.h"

namespace dsm::cluster {

namespace {

constexpr int kAnswerMs = 60'000;  // dsmrun answers at once, unless somebody has stopped it

}  // namespace

tl::unexpected<Error> refuse(Errc code, const char* context, std::string_view sentence) {
  log(LogLevel::kError, "cluster", "{}", sentence);
  return fail(code, context);
}

Result<Packet> wait_for_answer(int control) {
  pollfd polled{control, POLLIN, 0};
  int ready = 0;
  do {
    ready = ::poll(&polled, 1, kAnswerMs);
  } while (ready < 0 && errno == EINTR);
  Packet packet;
  if (ready == 0) {
    return refuse(Errc::kTimeout, "dsmrun does not answer",
                  "dsmrun does not answer; is it stopped? Start the job again");
  }
  if (receive(control, packet, 0) != Received::kPacket) {
    return refuse(Errc::kPeerDown, "dsmrun is gone",
                  "dsmrun, which started this process, is gone; start the job again");
  }
  if (const auto* refused = packet.as<Refused>()) {
    return refuse(Errc::kBadOption, "dsmrun refused this process",
                  fmt::format("dsmrun refused process {}: {}", ::getpid(), get_text(refused->reason)));
  }
  return packet;
}

Membership::Membership(NodeId self, const Geometry& geometry, JobMemory memory)
    : self_(self), geometry_(geometry), memory_(std::move(memory)) {
  for (unsigned node = 0; node < geometry.nodes; ++node) {
    fds_.push_back({memory_.memory[node].get(), memory_.meta[node].get()});
  }
}

std::uint64_t Membership::meta_bytes() const { return meta_region_bytes(geometry_); }

LaunchedJob::~LaunchedJob() {
  if (!thread_.joinable()) return;
  const std::uint64_t one = 1;
  static_cast<void>(!::write(stop_.get(), &one, sizeof one));  // an eventfd that is not full takes it
  if (thread_.get_id() == std::this_thread::get_id()) {
    thread_.detach();  // a callback ends the process
  } else {
    thread_.join();
  }
}

Result<Shares> LaunchedJob::exchange(std::span<const std::byte> mine) {
  DSM_CHECK(!thread_.joinable() && mine.size() <= kMaxExchangeBytes, "exchange() comes before watch() and finish()");
  auto contribution = make_message<Contribution>();
  contribution.round = exchanges_;
  contribution.bytes = static_cast<std::uint32_t>(mine.size());
  std::copy(mine.begin(), mine.end(), contribution.data);
  // If dsmrun is gone the answer says so, and what it may have sent before comes first.
  static_cast<void>(send_message(control_.get(), contribution));
  auto answer = wait_for_answer(control_.get());
  if (!answer) return tl::unexpected(answer.error());
  if (const auto* down = answer->as<PeerDownNotice>(); down != nullptr && down->node < geometry().nodes) {
    enter(kBroken);
    return refuse(Errc::kPeerDown, "a node ended while the job started",
                  fmt::format("node {} (pid {}) {} while the job started; see what it said, and start the job again",
                              down->node, down->pid, get_text(down->how)));
  }
  const auto* exchanged = answer->as<Exchanged>();
  if (exchanged == nullptr || exchanged->round != exchanges_ || exchanged->nodes != geometry().nodes ||
      answer->fds.size() != 1) {
    return refuse(Errc::kProtocol, "dsmrun's answer makes no sense",
                  "what dsmrun sent does not fit this program; use dsmrun and libdsm of one version");
  }
  ++exchanges_;
  return read_shares(answer->fds.front().get(), geometry().nodes);
}

void LaunchedJob::watch(std::function<void(const PeerDown&)> on_peer_down) {
  DSM_CHECK(!thread_.joinable(), "watch() comes once, and before finish()");
  on_peer_down_ = std::move(on_peer_down);
  // From here on the socket's end tells of dsmrun's death, and the callback gets its chance.
  int signal = 0;
  if (::prctl(PR_GET_PDEATHSIG, &signal) == 0 && signal == SIGTERM) ::prctl(PR_SET_PDEATHSIG, 0);
  const SignalsBlocked blocked;
  thread_ = std::thread([this] { listen(); });
}

bool LaunchedJob::finish(std::int64_t timeout_ms) {
  if (!thread_.joinable()) watch([](const PeerDown&) {});
  if (!send_message(control_.get(), make_message<Finish>())) return false;
  const std::int64_t deadline = now_ns() + timeout_ms * 1'000'000;
  while (state_.load(std::memory_order_acquire) == kRunning) {
    const std::int64_t left = timeout_ms == 0 ? -1 : deadline - now_ns();
    if (timeout_ms != 0 && left <= 0) return false;
    futex_wait(state_, kRunning, FutexScope::kProcess, left);
  }
  return state_.load(std::memory_order_acquire) == kAllFinished;
}

void LaunchedJob::enter(State state) {
  state_.store(state, std::memory_order_release);
  futex_wake(state_, INT32_MAX, FutexScope::kProcess);
}

// True if stop_ was raised; waits at the most `timeout_ms` for that or for a message.
bool LaunchedJob::stopped(int timeout_ms, bool also_message) const {
  pollfd polled[] = {{stop_.get(), POLLIN, 0}, {also_message ? control_.get() : -1, POLLIN, 0}};
  while (::poll(polled, 2, timeout_ms) < 0 && errno == EINTR) {
  }
  return polled[0].revents != 0;
}

void LaunchedJob::listen() {
  const OwnAllocations own;
  Packet packet;
  while (!stopped(-1, true)) {
    switch (receive(control_.get(), packet, MSG_DONTWAIT)) {
      case Received::kNothing:
        break;
      case Received::kClosed:
        launcher_died();
        return;
      case Received::kPacket:
        handle(packet);
    }
  }
}

void LaunchedJob::handle(const Packet& packet) {
  if (packet.as<AllFinished>() != nullptr) {
    enter(kAllFinished);
  } else if (const auto* notice = packet.as<PeerDownNotice>(); notice != nullptr && notice->node < geometry().nodes) {
    enter(kBroken);
    std::string& how = how_[notice->node];
    how = get_text(notice->how);
    on_peer_down_({static_cast<NodeId>(notice->node), notice->pid, how.c_str()});
  } else {
    log(LogLevel::kError, "cluster", "dsmrun sent a message that this version does not know; ignored");
  }
}

void LaunchedJob::launcher_died() {
  enter(kBroken);
  on_peer_down_({kNoNode, launcher_, "dsmrun died"});
  if (stopped(kGraceMs, false)) return;
  log(LogLevel::kError, "cluster", "dsmrun (pid {}) died and the program goes on without it; ending it", launcher_);
  ::_exit(kExitUnavailable);
}

}  // namespace dsm::cluster
