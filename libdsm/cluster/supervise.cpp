#include "cluster/supervise.h"

#include <sys/epoll.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <optional>
#include <vector>

#include "base/check.h"
#include "base/clock.h"
#include "base/stats.h"
#include "cluster/control.h"
#include "cluster/crew.h"
#include "cluster/endings.h"
#include "cluster/preflight.h"
#include "cluster/registrar.h"
#include "cluster/say.h"
#include "cluster/stats_server.h"

namespace dsm::cluster {

namespace {

constexpr std::int64_t kMs = 1'000'000;
constexpr int kLostMs = 1000;     // from a closed control socket to the conclusion that the node has left
constexpr int kStuckMs = 3000;    // from SIGKILL to giving up on a process
constexpr int kLeftoverMs = 200;  // from SIGTERM to SIGKILL for what dead nodes have left, if the job broke up
constexpr int kAnswerAgainMs = 10;

// What an epoll event is about.
enum class Source : std::uint32_t { kSignals, kStats, kHosts, kRendezvous, kControl };

// `index`: of the node among those of this host.
constexpr std::uint64_t tag(Source source, std::size_t index = 0) {
  return std::uint64_t{static_cast<std::uint32_t>(source)} << 32 | index;
}

class Supervisor {
 public:
  Supervisor(const JobSpec& spec, const SignalDesk& signals, Keeper& keeper, const JobMemory& memory, NodeStats* stats)
      : spec_(spec),
        signals_(signals),
        stats_(stats),
        crew_(signals, keeper),
        registrar_(spec.geometry, spec.local, same_options(spec.config), memory) {}

  Result<void> start(int stats_fd);
  void run();
  // Says how the nodes ended, if any ended badly; dsmrun's exit code.
  int report();

 private:
  void watch(int fd, std::uint64_t what);
  int timeout_ms();
  void on_event(std::uint64_t what);
  void on_signals();
  void on_rendezvous(NodeProcess& node);
  void judge();
  void judge(NodeProcess& node, bool others_run);
  void break_up(NodeProcess& cause, const NodeEnd& end);
  void break_up(const Breakage& breakage);
  bool over() const { return !crew_.any_alive() && (spec_.hosts == nullptr || hosts_over_); }
  void on_hosts();
  void on_news(HostNews& news);
  void tell_hosts();
  bool all_through();
  void on_time();

  const JobSpec& spec_;
  const SignalDesk& signals_;
  NodeStats* const stats_;
  Crew crew_;
  Registrar registrar_;
  UniqueFd events_;
  std::optional<StatsServer> stats_server_;
  bool broken_ = false;                 // the job breaks up
  const NodeProcess* cause_ = nullptr;  // because of this node; nullptr: of one of another host
  bool told_finished_ = false;
  bool all_finished_ = false;  // the nodes of all hosts are through
  bool told_ended_ = false;
  bool hosts_over_ = false;
  int exit_code_ = 0;
  std::int64_t terminate_ns_ = 0;  // when SIGTERM is due; 0: not
  std::int64_t kill_ns_ = 0;
  std::int64_t stuck_ns_ = 0;
  bool interrupted_ = false;
  bool answers_due_ = false;
};

void Supervisor::watch(int fd, std::uint64_t what) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = what;
  DSM_CHECK(::epoll_ctl(events_.get(), EPOLL_CTL_ADD, fd, &event) == 0, "errno {}", errno);
}

Result<void> Supervisor::start(int stats_fd) {
  events_.reset(::epoll_create1(EPOLL_CLOEXEC));
  if (!events_) return fail(Errc::kSystem, "cannot make an event descriptor", errno);
  watch(signals_.fd(), tag(Source::kSignals));
  auto server = StatsServer::open(stats_fd, spec_.geometry.nodes, spec_.program.args.front());
  if (server) {
    stats_server_ = std::move(*server);
    watch(stats_server_->fd(), tag(Source::kStats));
  } else {
    say("dsmstat will not see this job: {}", describe(server.error()));
  }
  const bool prefix = spec_.prefix && spec_.geometry.program_nodes() > 1;
  const auto started = crew_.start(spec_.program, spec_.lender, spec_.geometry, spec_.local, prefix);
  if (!started) return started;
  for (std::size_t i = 0; i < crew_.nodes().size(); ++i) {
    watch(crew_.nodes()[i].rendezvous.get(), tag(Source::kRendezvous, i));
  }
  if (spec_.hosts != nullptr) watch(spec_.hosts->fd(), tag(Source::kHosts));
  return {};
}

void Supervisor::run() {
  while (!over()) {
    epoll_event events[64];
    const int count = ::epoll_wait(events_.get(), events, 64, timeout_ms());
    for (int i = 0; i < count; ++i) on_event(events[i].data.u64);
    if (answers_due_) answers_due_ = registrar_.send_due(crew_.nodes());
    judge();
    tell_hosts();
    on_time();
  }
  if (crew_.end_leftovers(broken_ ? kLeftoverMs : kTerminateMs) && !broken_) {
    say("nodes have left processes running; those were ended");
  }
  stats_server_.reset();  // dsmstat sees the end
  // Signals that came too late are forgotten. From here on they act on dsmrun: a reader of our output that does not
  // read must not keep ^C from ending it.
  while (signals_.next()) {
  }
  signals_.restore();
  crew_.flush_output();
}

int Supervisor::timeout_ms() {
  std::int64_t due = INT64_MAX;
  for (const std::int64_t ns : {terminate_ns_, kill_ns_, stuck_ns_, registrar_.exchange_due_ns()}) {
    if (ns != 0) due = std::min(due, ns);
  }
  for (const NodeProcess& node : crew_.nodes()) {
    if (node.alive() && node.lost_ns != 0 && !node.finished && !broken_) {
      due = std::min(due, node.lost_ns + kLostMs * kMs);
    }
  }
  if (answers_due_) due = std::min(due, now_ns() + kAnswerAgainMs * kMs);
  if (due == INT64_MAX) return -1;
  return static_cast<int>(std::clamp<std::int64_t>((due - now_ns()) / kMs + 1, 0, 10'000));
}

void Supervisor::on_event(std::uint64_t what) {
  const auto source = static_cast<Source>(what >> 32);
  if (source == Source::kSignals) return on_signals();
  if (source == Source::kStats) return stats_server_->serve();
  if (source == Source::kHosts) return on_hosts();
  NodeProcess& node = crew_.nodes()[what & 0xffffffff];
  if (source == Source::kControl) return registrar_.on_control(node);
  on_rendezvous(node);
}

void Supervisor::on_rendezvous(NodeProcess& node) {
  if (!registrar_.on_rendezvous(node)) return;
  watch(node.control.get(), tag(Source::kControl, static_cast<std::size_t>(&node - crew_.nodes().data())));
  answers_due_ = answers_due_ || node.welcome_due;
  stats_[node.node].pid = node.joined_pid;
}

void Supervisor::on_signals() {
  while (const auto signal = signals_.next()) {
    if (*signal == SIGCHLD) {
      crew_.reap([this](NodeProcess& node) { registrar_.on_control(node); });  // it may have finished just before
    } else if (!crew_.any_alive() && (*signal == SIGINT || *signal == SIGTERM || *signal == SIGHUP)) {
      say("not waiting for the other hosts any longer");
      exit_code_ = 128 + *signal;
      hosts_over_ = true;
    } else if (*signal == SIGINT && interrupted_) {
      crew_.end_all(SIGKILL);
    } else if (*signal == SIGTSTP) {
      crew_.forward(SIGSTOP);
      ::raise(SIGSTOP);  // until SIGCONT, which is passed on
    } else {
      interrupted_ = interrupted_ || *signal == SIGINT;
      crew_.forward(*signal);
    }
  }
}

// Draws the conclusions of what has happened since the last time.
void Supervisor::judge() {
  const bool others_run = crew_.any_program_alive() || (spec_.hosts != nullptr && !all_finished_);
  for (NodeProcess& node : crew_.nodes()) {
    if (!broken_) judge(node, others_run);
  }
  answers_due_ = registrar_.end_exchange(crew_.nodes()) || answers_due_;
  if (spec_.hosts == nullptr && all_through()) all_finished_ = true;
  if (all_finished_ && !broken_) registrar_.tell_all_finished(crew_.nodes());
}

bool Supervisor::all_through() {
  const auto& nodes = crew_.nodes();
  return std::all_of(nodes.begin(), nodes.end(), [](const NodeProcess& node) { return node.through(); });
}

// What is known now and the other hosts do not know yet.
void Supervisor::tell_hosts() {
  if (spec_.hosts == nullptr) return;
  if (const auto shares = registrar_.take_local_shares(); !shares.empty()) spec_.hosts->give(shares);
  if (!told_finished_ && !broken_ && all_through()) {
    told_finished_ = true;
    spec_.hosts->finished();
  }
  if (!told_ended_ && !crew_.any_alive()) {
    told_ended_ = true;
    spec_.hosts->ended(exit_code_);
  }
  on_hosts();
}

void Supervisor::on_hosts() {
  for (HostNews& news : spec_.hosts->serve()) on_news(news);
}

void Supervisor::on_news(HostNews& news) {
  switch (news.kind) {
    case HostNews::Kind::kShares:
      registrar_.take_shares(std::move(news.shares));
      answers_due_ = registrar_.end_exchange(crew_.nodes()) || answers_due_;
      break;
    case HostNews::Kind::kAllFinished:
      all_finished_ = true;
      if (!broken_) registrar_.tell_all_finished(crew_.nodes());
      break;
    case HostNews::Kind::kBroken:
      if (broken_) break;
      exit_code_ = news.broken.exit_code;
      break_up(news.broken);
      break;
    case HostNews::Kind::kOver:
      hosts_over_ = true;
      if (news.exit_code != 0) exit_code_ = news.exit_code;
      break;
  }
}

void Supervisor::judge(NodeProcess& node, bool others_run) {
  if (node.alive()) {
    const bool lost = node.lost_ns != 0 && !node.finished && now_ns() >= node.lost_ns + kLostMs * kMs;
    if (lost) break_up(node, {EndKind::kLost});
    return;
  }
  const bool missed = (node.joined() && !node.finished && others_run) || registrar_.awaited(node);
  if (node.end->good() && missed) node.end->kind = EndKind::kLeft;
  if (!node.end->good()) break_up(node, *node.end);
}

void Supervisor::break_up(NodeProcess& cause, const NodeEnd& end) {
  cause_ = &cause;
  exit_code_ = exit_code(end);
  const std::string text = sentence(cause.node, cause.shown_pid(), end);
  const Breakage breakage{cause.node, cause.shown_pid(), exit_code_, how_text(end),
                          (cause.lends ? "memory " : "") + text};
  break_up(breakage);
  if (spec_.hosts != nullptr) spec_.hosts->broken(breakage);
}

void Supervisor::break_up(const Breakage& breakage) {
  broken_ = true;
  registrar_.break_up(crew_.nodes(), breakage);
  say("{}", breakage.sentence);
  terminate_ns_ = now_ns() + kGraceMs * kMs;
  for (NodeProcess& node : crew_.nodes()) {
    if (node.alive() && !node.joined()) crew_.end_node(node, SIGTERM);  // it cannot be told otherwise
  }
}

void Supervisor::on_time() {
  const std::int64_t now = now_ns();
  const std::int64_t exchange_due_ns = registrar_.exchange_due_ns();
  if (exchange_due_ns != 0 && now >= exchange_due_ns) registrar_.end_late_exchange(crew_.nodes());
  if (terminate_ns_ != 0 && now >= terminate_ns_) {
    terminate_ns_ = 0;
    kill_ns_ = now + kTerminateMs * kMs;
    crew_.end_all(SIGTERM);
  } else if (kill_ns_ != 0 && now >= kill_ns_) {
    kill_ns_ = 0;
    stuck_ns_ = now + kStuckMs * kMs;
    crew_.end_all(SIGKILL);
  } else if (stuck_ns_ != 0 && now >= stuck_ns_) {
    for (NodeProcess& node : crew_.nodes()) {
      if (node.alive()) node.end = NodeEnd{EndKind::kStuck};
    }
  }
}

int Supervisor::report() {
  if (!broken_) return exit_code_;
  for (const NodeProcess& node : crew_.nodes()) {
    if (&node != cause_) say("{}", sentence(node.node, node.shown_pid(), *node.end));
  }
  return exit_code_;
}

JobOutcome refuse(const Obstacle& obstacle) {
  say("{}", obstacle.text);
  return {obstacle.exit_code, UniqueFd()};
}

// The counters as dsmrun itself sees them, initialised for nodes that never join.
NodeStats* map_stats(int fd, unsigned nodes) {
  void* mapped = ::mmap(nullptr, stats_file_bytes(nodes), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (mapped == MAP_FAILED) return nullptr;
  auto* stats = static_cast<NodeStats*>(mapped);
  for (unsigned node = 0; node < nodes; ++node) stats[node].version = kStatsVersion;
  return stats;
}

}  // namespace

JobOutcome run_job(const JobSpec& spec) {
  auto signals = SignalDesk::open();
  if (!signals) return refuse(obstacle_of(signals.error()));
  auto keeper = Keeper::start();
  if (!keeper) return refuse(obstacle_of(keeper.error()));
  auto memory = make_job_memory(spec.geometry, spec.local);
  if (!memory) return refuse(obstacle_of(memory.error()));
  NodeStats* stats = map_stats(memory->stats.get(), spec.geometry.nodes);
  if (stats == nullptr) return refuse(obstacle_of({Errc::kNoMemory, errno, "cannot map the counters"}));

  Supervisor supervisor(spec, *signals, *keeper, *memory, stats);
  const auto started = supervisor.start(memory->stats.get());
  if (!started) {
    const Error& error = started.error();
    const bool exec = error.code == Errc::kNotFound;
    return refuse(exec ? exec_obstacle(spec.program.path, error.sys_errno) : obstacle_of(error));
  }
  supervisor.run();
  ::munmap(stats, stats_file_bytes(spec.geometry.nodes));
  return {supervisor.report(), std::move(memory->stats)};
}

}  // namespace dsm::cluster
