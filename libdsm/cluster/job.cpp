// Joining a job, and being its only node. Everything here runs in the node's process; the other side is registrar.cpp.
#include "cluster/job.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <atomic>
#include <bit>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "base/check.h"
#include "base/log.h"
#include "base/meta_layout.h"
#include "cluster/control.h"
#include "cluster/exchange.h"
#include "cluster/launched_job.h"
#include "cluster/regions.h"

namespace dsm::cluster {

namespace {

// Nobody to hear of, nobody to wait for.
class LoneJob final : public Membership {
 public:
  using Membership::Membership;
  Result<Shares> exchange(std::span<const std::byte> mine) override {
    DSM_CHECK(mine.size() <= kMaxExchangeBytes);
    return Shares{{mine.begin(), mine.end()}};
  }
  void watch(std::function<void(const PeerDown&)>) override {}
  bool finish(std::int64_t) override { return true; }
};

Result<std::unique_ptr<Job>> make_lone_job(const Config& config) {
  if (config.memory_nodes != 0) {
    return refuse(Errc::kBadOption, "no memory nodes without dsmrun",
                  "memory nodes are processes that dsmrun starts: run dsmrun -n 1 --memory-nodes 2 --local-memory 256M "
                  "-- program, or unset DSM_MEMORY_NODES");
  }
  const Geometry geometry = geometry_of(config, 1);
  const std::string complaint = address_space_complaint(geometry);
  if (!complaint.empty()) return refuse(Errc::kNoMemory, "the global range does not fit", complaint);
  auto memory = make_job_memory(geometry, node_bit(0));
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

bool has_size(const UniqueFd& fd, std::uint64_t bytes) {
  struct stat status {};
  return ::fstat(fd.get(), &status) == 0 && S_ISREG(status.st_mode) &&
         static_cast<std::uint64_t>(status.st_size) == bytes;
}

// Nothing unless the Welcome fits this node's own configuration and brings every descriptor in its right size.
std::optional<JobMemory> take_memory(const Welcome& welcome, const Config& config, std::vector<UniqueFd> fds) {
  const unsigned nodes = welcome.nodes;
  if (nodes <= config.memory_nodes || nodes > kMaxNodes || welcome.node >= nodes) return std::nullopt;
  const bool local_fits = welcome.local >> nodes == 0 && contains(welcome.local, static_cast<NodeId>(welcome.node));
  const auto local = static_cast<std::size_t>(std::popcount(welcome.local));
  if (!local_fits || fds.size() != 2 * local + 1) return std::nullopt;
  const Geometry geometry = geometry_of(config, nodes);
  if (welcome.base != geometry.base || welcome.slice_bytes != geometry.slice_bytes ||
      welcome.interleaved_bytes != geometry.interleaved_bytes || welcome.meta_bytes != meta_region_bytes(geometry)) {
    return std::nullopt;
  }
  JobMemory memory;
  memory.memory.resize(nodes);
  memory.meta.resize(nodes);
  for (std::size_t node = 0, i = 0; node < nodes; ++node) {
    if (!contains(welcome.local, static_cast<NodeId>(node))) continue;
    if (!has_size(fds[i], geometry.memory_bytes()) || !has_size(fds[local + i], meta_file_bytes(geometry))) {
      return std::nullopt;
    }
    memory.memory[node] = std::move(fds[i]);
    memory.meta[node] = std::move(fds[local + i]);
    ++i;
  }
  memory.stats = std::move(fds[2 * local]);
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
