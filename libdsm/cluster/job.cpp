// Joining a job, and being its only node. Everything here runs in the node's process; the other side is registrar.cpp.
#include "cluster/job.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <thread>

#include "base/allocation_gate.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/futex.h"
#include "base/log.h"
#include "base/meta_layout.h"
#include "base/signals.h"
#include "cluster/control.h"
#include "cluster/endings.h"
#include "cluster/keeper.h"
#include "cluster/regions.h"

namespace dsm::cluster {

namespace {

constexpr int kAnswerMs = 60'000;  // dsmrun answers at once, unless somebody has stopped it

// One node's share of a job, whoever made it.
class Membership : public Job {
 public:
  Membership(NodeId self, const Geometry& geometry, JobMemory memory)
      : self_(self), geometry_(geometry), memory_(std::move(memory)) {
    for (unsigned node = 0; node < geometry.nodes; ++node) {
      fds_.push_back({memory_.memory[node].get(), memory_.meta[node].get()});
    }
  }

  NodeId self() const override { return self_; }
  const Geometry& geometry() const override { return geometry_; }
  const std::vector<NodeFds>& fds() const override { return fds_; }
  int stats_fd() const override { return memory_.stats.get(); }
  std::uint64_t meta_bytes() const override { return meta_region_bytes(geometry_); }

 private:
  const NodeId self_;
  const Geometry geometry_;
  const JobMemory memory_;
  std::vector<NodeFds> fds_;
};

// Nobody to hear of, nobody to wait for.
class LoneJob final : public Membership {
 public:
  using Membership::Membership;
  void watch(std::function<void(const PeerDown&)>) override {}
  bool finish(std::int64_t) override { return true; }
};

// A node under dsmrun. The watching thread alone reads the control socket.
class LaunchedJob final : public Membership {
 public:
  LaunchedJob(NodeId self, const Geometry& geometry, JobMemory memory, UniqueFd control, UniqueFd stop, int launcher)
      : Membership(self, geometry, std::move(memory)),
        control_(std::move(control)),
        stop_(std::move(stop)),
        launcher_(launcher) {}

  ~LaunchedJob() override {
    if (!thread_.joinable()) return;
    const std::uint64_t one = 1;
    static_cast<void>(!::write(stop_.get(), &one, sizeof one));  // an eventfd that is not full takes it
    if (thread_.get_id() == std::this_thread::get_id()) {
      thread_.detach();  // a callback ends the process
    } else {
      thread_.join();
    }
  }

  void watch(std::function<void(const PeerDown&)> on_peer_down) override {
    DSM_CHECK(!thread_.joinable(), "watch() comes once, and before finish()");
    on_peer_down_ = std::move(on_peer_down);
    // From here on the socket's end tells of dsmrun's death, and the callback gets its chance.
    int signal = 0;
    if (::prctl(PR_GET_PDEATHSIG, &signal) == 0 && signal == SIGTERM) ::prctl(PR_SET_PDEATHSIG, 0);
    const SignalsBlocked blocked;
    thread_ = std::thread([this] { listen(); });
  }

  bool finish(std::int64_t timeout_ms) override {
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

 private:
  enum State : std::uint32_t { kRunning, kAllFinished, kBroken };

  void enter(State state) {
    state_.store(state, std::memory_order_release);
    futex_wake(state_, INT32_MAX, FutexScope::kProcess);
  }

  // True if stop_ was raised; waits at the most `timeout_ms` for that or for a message.
  bool stopped(int timeout_ms, bool also_message) const {
    pollfd polled[] = {{stop_.get(), POLLIN, 0}, {also_message ? control_.get() : -1, POLLIN, 0}};
    while (::poll(polled, 2, timeout_ms) < 0 && errno == EINTR) {
    }
    return polled[0].revents != 0;
  }

  void listen() {
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

  void handle(const Packet& packet) {
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

  void launcher_died() {
    enter(kBroken);
    on_peer_down_({kNoNode, launcher_, "dsmrun died"});
    if (stopped(kGraceMs, false)) return;
    log(LogLevel::kError, "cluster", "dsmrun (pid {}) died and the program goes on without it; ending it", launcher_);
    ::_exit(kExitUnavailable);
  }

  const UniqueFd control_;
  const UniqueFd stop_;
  const int launcher_;
  std::function<void(const PeerDown&)> on_peer_down_;
  std::array<std::string, kMaxNodes> how_;  // what PeerDown::how points to stays as long as the job
  std::atomic<std::uint32_t> state_{kRunning};
  std::thread thread_;
};

tl::unexpected<Error> refuse(Errc code, const char* context, std::string_view sentence) {
  log(LogLevel::kError, "cluster", "{}", sentence);
  return fail(code, context);
}

Result<std::unique_ptr<Job>> make_lone_job(const Config& config) {
  if (config.memory_nodes != 0) {
    return refuse(Errc::kBadOption, "no memory nodes without dsmrun",
                  "memory nodes are processes that dsmrun starts: run dsmrun -n 1 --memory-nodes 2 --local-memory 256M "
                  "-- program, or unset DSM_MEMORY_NODES");
  }
  const Geometry geometry = geometry_of(config, 1);
  const std::string complaint = address_space_complaint(geometry);
  if (!complaint.empty()) return refuse(Errc::kNoMemory, "the global range does not fit", complaint);
  auto memory = make_job_memory(geometry);
  if (!memory) return refuse(memory.error().code, memory.error().context, describe(memory.error()));
  return std::make_unique<LoneJob>(NodeId{0}, geometry, std::move(*memory));
}

// The process that has joined, so that a forked child of it knows better than to ask.
std::atomic<pid_t> joined_process{0};

// The descriptor that DSM_CONTROL_FD ("100:48213", descriptor and inode) names; -1 if it is not there any more.
int rendezvous_of(std::string_view variable) {
  int fd = -1;
  std::uint64_t inode = 0;
  const char* const end = variable.data() + variable.size();
  const auto [colon, error] = std::from_chars(variable.data(), end, fd);
  if (error != std::errc{} || colon == end || *colon != ':') return -1;
  const auto [rest, inode_error] = std::from_chars(colon + 1, end, inode);
  if (inode_error != std::errc{} || rest != end) return -1;
  struct stat status {};
  if (::fstat(fd, &status) != 0 || !S_ISSOCK(status.st_mode) || status.st_ino != inode) return -1;
  return fd;
}

Result<UniqueFd> ask_to_join(int rendezvous, const Config& config) {
  auto hello = make_message<Hello>();
  const std::string options = same_options(config);
  if (options.size() >= sizeof hello.options) {
    return refuse(Errc::kBadOption, "an option is too long", "a DSM_* variable is too long to be compared; shorten it");
  }
  put_text(hello.options, options);
  auto pair = make_socket_pair();
  if (!pair) return refuse(pair.error().code, pair.error().context, describe(pair.error()));
  const int fds[] = {pair->far.get()};
  const auto sent = send_message(rendezvous, hello, 0, fds);
  if (!sent) {
    return refuse(Errc::kPeerDown, "dsmrun is gone",
                  "dsmrun, which started this process, is gone; start the job again");
  }
  return std::move(pair->near);
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

bool has_size(const UniqueFd& fd, std::uint64_t bytes) {
  struct stat status {};
  return ::fstat(fd.get(), &status) == 0 && S_ISREG(status.st_mode) &&
         static_cast<std::uint64_t>(status.st_size) == bytes;
}

// Nothing unless the Welcome fits this node's own configuration and brings every descriptor in its right size.
std::optional<JobMemory> take_memory(const Welcome& welcome, const Config& config, std::vector<UniqueFd> fds) {
  const unsigned nodes = welcome.nodes;
  if (nodes <= config.memory_nodes || nodes > kMaxNodes || welcome.node >= nodes || fds.size() != 2 * nodes + 1)
    return std::nullopt;
  const Geometry geometry = geometry_of(config, nodes);
  if (welcome.base != geometry.base || welcome.slice_bytes != geometry.slice_bytes ||
      welcome.interleaved_bytes != geometry.interleaved_bytes || welcome.meta_bytes != meta_region_bytes(geometry)) {
    return std::nullopt;
  }
  JobMemory memory;
  for (unsigned i = 0; i < nodes; ++i) {
    if (!has_size(fds[i], geometry.memory_bytes()) || !has_size(fds[nodes + i], meta_file_bytes(geometry))) {
      return std::nullopt;
    }
    memory.memory.push_back(std::move(fds[i]));
    memory.meta.push_back(std::move(fds[nodes + i]));
  }
  memory.stats = std::move(fds[2 * nodes]);
  if (!has_size(memory.stats, stats_file_bytes(nodes))) return std::nullopt;
  return memory;
}

Result<std::unique_ptr<Job>> join_launcher(const Config& config, std::string_view variable) {
  if (joined_process.load() != 0) {
    return refuse(
        Errc::kBadOption, "this node has already joined",
        fmt::format("process {} or the one it was forked from (process {}) has already joined the job, and a node "
                    "is one process",
                    ::getpid(), joined_process.load()));
  }
  const int rendezvous = rendezvous_of(variable);
  if (rendezvous < 0) {
    return refuse(Errc::kBadOption, "this process is no node",
                  "this process was started by one that has already joined the job (or that closed the descriptor in "
                  "DSM_CONTROL_FD), and a node is one process; unset DSM_CONTROL_FD to make a job of its own of it");
  }
  auto control = ask_to_join(rendezvous, config);
  if (!control) return tl::unexpected(control.error());
  auto answer = wait_for_answer(control->get());
  if (!answer) return tl::unexpected(answer.error());
  const Welcome* welcome = answer->as<Welcome>();
  std::optional<JobMemory> memory;
  if (welcome != nullptr) memory = take_memory(*welcome, config, std::move(answer->fds));
  if (!memory) {
    return refuse(Errc::kProtocol, "dsmrun's welcome makes no sense",
                  "what dsmrun sent does not fit this program; use dsmrun and libdsm of one version");
  }
  UniqueFd stop(::eventfd(0, EFD_CLOEXEC));
  if (!stop) return refuse(Errc::kSystem, "cannot make an event descriptor", ::strerror(errno));
  ::close(rendezvous);
  joined_process.store(::getpid());
  return std::make_unique<LaunchedJob>(static_cast<NodeId>(welcome->node), geometry_of(config, welcome->nodes),
                                       std::move(*memory), std::move(*control), std::move(stop), welcome->launcher_pid);
}

}  // namespace

Result<std::unique_ptr<Job>> join_job(const Config& config) {
  const char* variable = std::getenv("DSM_CONTROL_FD");
  if (variable == nullptr) return make_lone_job(config);
  return join_launcher(config, variable);
}

}  // namespace dsm::cluster
