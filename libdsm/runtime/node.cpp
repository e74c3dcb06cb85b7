// Start and end of a node. Start-up is a list of steps, each standing on the ones before it.
#include "runtime/node.h"

#include <fmt/core.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>

#include "base/allocation_gate.h"
#include "base/log.h"
#include "base/meta_layout.h"
#include "cluster/network.h"
#include "net/shm_transport.h"
#include "net/verbs_transport.h"
#include "runtime/block_checks.h"
#include "runtime/blocks.h"
#include "runtime/calls.h"
#include "runtime/chunks.h"
#include "runtime/holds.h"
#include "runtime/leases.h"
#include "runtime/local_memory.h"
#include "runtime/lost.h"
#include "runtime/objects.h"
#include "runtime/pages.h"
#include "runtime/roots.h"
#include "runtime/service.h"
#include "runtime/sites.h"
#include "runtime/start_hooks.h"

namespace dsm::runtime {
namespace {

std::mutex start_lock;
std::atomic<Node*> running{nullptr};  // what the program may use
std::atomic<bool> all_finished{false};
pid_t running_process = 0;

// jemalloc itself has four arenas a CPU, and what an unmodified program is compared with is jemalloc.
constexpr unsigned kArenasPerCpu = 4;

void adapt_to_unmodified(Config& config) {
  if (config.arenas == 0) {
    config.arenas = std::clamp<std::int64_t>(kArenasPerCpu * std::thread::hardware_concurrency(), 1, heap::kMaxArenas);
  }
}

Result<void> read_options(Node& node) {
  auto config = read_config();
  if (!config) return tl::unexpected(config.error());
  node.config = *config;
  if (node.program == Program::kUnmodified) adapt_to_unmodified(node.config);
  set_log(static_cast<LogLevel>(node.config.log), -1);
  return {};
}

Result<void> join(Node& node) {
  auto job = cluster::join_job(node.config);
  if (!job) return tl::unexpected(job.error());
  node.job = std::move(*job);
  node.self = node.job->self();
  node.geometry = node.job->geometry();
  set_log(static_cast<LogLevel>(node.config.log), node.self);
  void* stats =
      ::mmap(nullptr, kMaxNodes * sizeof(NodeStats), PROT_READ | PROT_WRITE, MAP_SHARED, node.job->stats_fd(), 0);
  if (stats == MAP_FAILED) return fail(Errc::kSystem, "cannot map the counters", errno);
  node.stats = static_cast<NodeStats*>(stats) + node.self;
  node.stats->version = kStatsVersion;
  node.stats->pid = ::getpid();
  return {};
}

Result<void> open_profile(Node& node) {
  if (node.config.profile.empty()) return {};
  auto recorder = insight::Recorder::open(node.config.profile, node.geometry, node.self, node.config.emulate);
  if (!recorder) return tl::unexpected(recorder.error());
  node.recorder = std::move(*recorder);
  return {};
}

// Before any thread allocates.
Result<void> make_sites(Node& node) {
  if (!node.config.sites.empty()) {
    auto sites = Sites::create(node, node.config.sites, loaded_modules());
    if (!sites) return tl::unexpected(sites.error());
    node.sites = std::move(*sites);
    bound_allocations = Allocations::kSited;
  }
  if (node.recorder != nullptr) bound_allocations = Allocations::kUnbound;
  return {};
}

Result<std::unique_ptr<net::Transport>> make_shm(Node& node) {
  net::ShmParams params;
  params.self = node.self;
  params.memory_bytes = node.geometry.memory_bytes();
  params.meta_bytes = meta_region_bytes(node.geometry);
  params.emulate = node.config.emulate;
  for (const auto& fds : node.job->fds()) params.nodes.push_back({fds.memory_fd, fds.meta_fd});
  return net::make_shm_transport(params);
}

Result<void> connect(Node& node) {
  auto transport = node.config.transport == "verbs"
                       ? net::make_verbs_transport(cluster::verbs_params(node.config, *node.job))
                       : make_shm(node);
  if (!transport) return tl::unexpected(transport.error());
  node.transport = std::move(*transport);
  node.service_view = node.transport->local_region(net::Region::kMemory);
  node.meta_view = node.transport->local_region(net::Region::kMeta);
  return {};
}

// The kernel has filters, and nobody forbids them: it gets as far as reading the filter, which is not there.
bool filters_may_be_had() {
  const int saved_errno = errno;
  const bool may = ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, nullptr) != 0 && errno == EFAULT;
  errno = saved_errno;
  return may;
}

struct ChosenEngine {
  std::string name;
  std::string why;  // "": who makes it says
};

// For a program that does not know of us. Over memory nodes nearly all faults are the program's own. uffd-inline serves
// them in a sixth to a third of the time: a thread would have to be woken twice for each, and wherever CPUs are idle
// that takes some 20 us in a virtual machine. Its system calls are looked after (preload/traps.h).
ChosenEngine choose_engine(const Node& node) {
  if (node.config.engine != "auto") return {node.config.engine, "as asked for"};
  if (node.program != Program::kUnmodified) return {"auto", ""};
  const auto inline_works = [] { return mem::engine_obstacle("uffd-inline").empty(); };
  if (node.config.memory_nodes != 0 && inline_works() && filters_may_be_had()) {
    return {"uffd-inline", "the fastest for a program's own faults"};
  }
  const std::string obstacle = mem::kernel_faults_obstacle();
  if (obstacle.empty()) return {"uffd-thread", "with which the kernel waits for pages, too"};
  return {inline_works() ? "uffd-inline" : "sigsegv",
          fmt::format("since uffd-thread would not have the kernel wait: {}", obstacle)};
}

Result<void> map_memory(Node& node) {
  const ChosenEngine chosen = choose_engine(node);
  auto engine = mem::make_engine(chosen.name, node.geometry, node.service_view);
  if (!engine) return tl::unexpected(engine.error());
  if (!chosen.why.empty()) log(LogLevel::kInfo, "mem", "engine {}, {}", chosen.name, chosen.why);
  node.engine = std::move(*engine);
  std::snprintf(node.stats->engine, sizeof node.stats->engine, "%s", node.engine->name());
  if (node.recorder != nullptr) node.recorder->engine(node.engine->name());
  const int memory_fd = node.job->fds()[node.self].memory_fd;
  auto space = mem::make_address_space(node.geometry, node.self, memory_fd, node.service_view, *node.engine);
  if (!space) return tl::unexpected(space.error());
  node.space = std::move(*space);
  return {};
}

Result<void> make_parts(Node& node) {
  auto pages = Pages::create(node);
  if (!pages) return tl::unexpected(pages.error());
  node.pages = std::move(*pages);
  auto holds = Holds::create(node);
  if (!holds) return tl::unexpected(holds.error());
  node.holds = std::move(*holds);
  node.calls = std::make_unique<Calls>(node);
  auto objects = Objects::create(node);
  if (!objects) return tl::unexpected(objects.error());
  node.objects = std::move(*objects);
  if (node.geometry.memory_nodes != 0) {
    auto local = LocalMemory::create(node);
    if (!local) return tl::unexpected(local.error());
    node.local = std::move(*local);
    node.leases = std::make_unique<Leases>(node);
    node.chunks = std::make_unique<LentChunks>(node);
  } else {
    node.chunks = std::make_unique<SliceChunks>(node);
  }
  auto heap = heap::make_heap(node.geometry, node.self, *node.chunks, static_cast<unsigned>(node.config.arenas),
                              static_cast<std::uint64_t>(node.config.apart_memory));
  if (!heap) return tl::unexpected(heap.error());
  node.heap = std::move(*heap);
  // An unmodified program's blocks go from jemalloc and to it past our heap.
  if (node.config.check != 0 && node.program == Program::kLinked) {
    node.checks = std::make_unique<BlockChecks>(node);
    node.heap = node.checks->watch(std::move(node.heap));
  }
  node.blocks = std::make_unique<Blocks>(node);
  node.roots = std::make_unique<Roots>(node);
  node.service = std::make_unique<Service>(node);
  return {};
}

// A node that has died takes the job with it: its memory is gone.
void on_peer_down(unsigned program_nodes, const cluster::PeerDown& down) {
  if (down.node == kNoNode) {
    log(LogLevel::kError, "job", "the launcher is gone ({}); this node ends", down.how);
  } else if (down.node >= program_nodes) {
    log(LogLevel::kError, "job", "memory node {} (pid {}) {}; memory of this program is lost with it; this node ends",
        down.node, down.pid, down.how);
  } else {
    log(LogLevel::kError, "job", "node {} (pid {}) {}; this node ends", down.node, down.pid, down.how);
  }
  ::_exit(kExitPeerDown);
}

// From here on other nodes may give this one work, which runs on threads of its own.
Result<void> go(Node& node) {
  running_process = ::getpid();
  running = &node;
  if (!quiet(node)) {
    if (auto started = node.engine->start(*node.pages); !started) return started;
  }
  run_start_hooks(node);  // behind what can fail: what they make refers to the node
  if (quiet(node)) return {};
  if (node.recorder != nullptr) node.recorder->sample_addresses();
  if (node.local != nullptr) node.local->start();
  node.holds->start();
  node.service->start();
  node.job->watch(
      [nodes = node.geometry.program_nodes()](const cluster::PeerDown& down) { on_peer_down(nodes, down); });
  return {};
}

Result<void> take_steps(Node& node) {
  try {
    for (const auto step : {read_options, join, open_profile, make_sites, connect, map_memory, make_parts, go}) {
      if (auto done = step(node); !done) return done;
    }
    return {};
  } catch (const std::bad_alloc&) {
    return fail(Errc::kNoMemory, "no memory to start a node");
  } catch (const std::system_error& error) {
    return fail(Errc::kSystem, "cannot start a thread of the runtime", error.code().value());
  }
}

}  // namespace

Node::Node() = default;
Node::~Node() = default;

Result<Node*> start_node(Program program) {
  const OwnAllocations own;
  const std::lock_guard guard(start_lock);
  if (Node* const there = running) return there;
  if (all_finished) {
    const Error error{Errc::kNotStarted, 0, "dsm::start() after dsm::finish(): a process joins a job once"};
    log(LogLevel::kError, "start", "{}", describe(error));
    return tl::unexpected(error);
  }
  auto node = std::make_unique<Node>();
  node->program = program;
  if (auto started = take_steps(*node); !started) {
    running = nullptr;
    log(LogLevel::kError, "start", "{}", describe(started.error()));
    return tl::unexpected(started.error());
  }
  log(LogLevel::kInfo, "start", "node {} of {}, engine {}, transport {}", node->self, node->geometry.nodes,
      node->engine->name(), node->transport->name());
  static_cast<void>(node.release());  // lives until the process ends: its memory may be touched until then
  ::on_exit(
      // NOLINTNEXTLINE(clang-analyzer-cplusplus.NewDeleteLeaks): that is no leak
      [](int status, void*) {
        if (status == 0) finish_node(Finish::kExit);
      },
      nullptr);  // a failed node ends the job
  return running.load();
}

bool node_running() { return running != nullptr; }
bool node_finished() { return all_finished; }

bool quiet(const Node& node) { return node.program == Program::kUnmodified && node.geometry.nodes == 1; }

Node* node_unless_finished() {
  Node* const node = running.load(std::memory_order_acquire);
  if (node == nullptr && !all_finished) {
    log(LogLevel::kError, "start", "libdsm was used before dsm::start() or after it had failed; the program ends");
    std::abort();
  }
  return node;
}

Node& node() {
  Node* const node = node_unless_finished();
  if (node == nullptr) {
    log(LogLevel::kError, "start", "libdsm was used after dsm::finish(); the program ends");
    std::abort();
  }
  return *node;
}

void finish_node(Finish how) {
  static std::once_flag once;
  Node* const node = running;
  if (node == nullptr || ::getpid() != running_process) return;  // a forked child leaves nothing
  const OwnAllocations own;
  std::call_once(once, [node] {
    node->blocks->flush();
    if (node->recorder != nullptr) node->recorder->finish();
    // Without a limit it is another node's end that has broken the job up, which the watcher tells.
    if (!node->job->finish(node->config.finish_ms) && node->config.finish_ms != 0) {
      log(LogLevel::kWarn, "job", "not all nodes have finished within {} ms (DSM_FINISH_MS)", node->config.finish_ms);
    }
  });
  all_finished = true;
  if (how == Finish::kCalled) running = nullptr;
}

}  // namespace dsm::runtime
