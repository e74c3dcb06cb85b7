// A program whose memory does not fit: ours with two memory nodes beside Linux's swap on a RAM disk, in one run, round
// by round in turn. Each round is a process of its own that writes all of its memory, then touches pages by a pattern
// for a while; a quarter of the touches write. What is told is the time of a touch, misses and hits together. Bursts
// are random touches with pauses that do not count, in which the other side may get ready.
#include <dsm/dsm.h>
#include <fmt/core.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <numeric>
#include <optional>
#include <random>
#include <thread>
#include <vector>

#include "bench/micro/bench_rows.h"
#include "bench/micro/swap_peer.h"
#include "support/command_line.h"

namespace dsm::bench {
namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kMiB = std::size_t{1} << 20;

struct Options {
  std::size_t mib = 256;
  unsigned fit = 50;  // percent
  double seconds = 2;
  unsigned rounds = 5;
  bool json = false;
  std::string inside;  // what a worker process does: its pattern
  std::string memory;  // and from where its memory is: "ours" or "malloc"
};

// Pages by a pattern.
class Pattern {
 public:
  Pattern(const std::string& name, std::uint32_t pages, std::uint64_t seed)
      : name_(name), pages_(pages), random_(seed) {
    if (name != "zipf") return;
    double sum = 0;
    for (std::uint32_t i = 0; i < pages; ++i) sums_.push_back(sum += 1 / std::pow(i + 1, 0.99));
    order_.resize(pages);
    std::iota(order_.begin(), order_.end(), 0U);
    std::shuffle(order_.begin(), order_.end(), std::mt19937(7));
  }
  std::uint32_t next() {
    if (name_ == "sequential") return at_ = (at_ + 1) % pages_;
    if (name_ != "zipf") return static_cast<std::uint32_t>(random_() % pages_);
    const double at = std::uniform_real_distribution<>(0, sums_.back())(random_);
    const auto found = std::lower_bound(sums_.begin(), sums_.end(), at) - sums_.begin();
    return order_[static_cast<std::size_t>(std::min<std::ptrdiff_t>(found, std::ssize(order_) - 1))];
  }

 private:
  const std::string name_;
  const std::uint32_t pages_;
  std::mt19937_64 random_;
  std::uint32_t at_ = 0;
  std::vector<double> sums_;
  std::vector<std::uint32_t> order_;
};

// Half of a page is random, so that compression has something to do and something to win.
void fill(std::byte* memory, std::size_t pages) {
  std::mt19937_64 random(1);
  for (std::size_t page = 0; page < pages; ++page) {
    auto* words = reinterpret_cast<std::uint64_t*>(memory + page * kPage);
    for (std::size_t i = 0; i < 512; ++i) words[i] = i % 2 == 0 ? random() : page;
  }
}

// Nanoseconds a touch.
struct Cost {
  double wall;
  double cpu;  // of all threads of the process
};

double process_cpu_ns() {
  timespec time{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) * 1e9 + static_cast<double>(time.tv_nsec);
}

constexpr std::uint64_t kBurst = 8192;  // touches, a multiple of 64
constexpr std::chrono::milliseconds kPause(50);

// By one thread. Patterns are drawn ahead so that drawing costs the same nothing on both sides.
Cost touch(std::byte* memory, const std::vector<std::uint32_t>& pages, double seconds, bool bursts) {
  using Clock = std::chrono::steady_clock;
  auto begin = Clock::now();
  const auto end = begin + std::chrono::duration<double>(seconds);
  std::uint64_t touches = 0;
  const double cpu = process_cpu_ns();
  auto now = begin;
  for (std::size_t at = 0; now < end; now = Clock::now()) {
    for (int i = 0; i < 64; ++i, ++touches, at = at + 1 < pages.size() ? at + 1 : 0) {
      auto* word = reinterpret_cast<volatile std::uint64_t*>(memory + pages[at] * kPage);
      if (touches % 4 == 0) {
        word[1] = touches;
      } else {
        static_cast<void>(word[2]);
      }
    }
    if (!bursts || touches % kBurst != 0) continue;
    const auto paused = Clock::now();
    std::this_thread::sleep_for(kPause);
    begin += Clock::now() - paused;
  }
  const auto all = static_cast<double>(touches);
  return {std::chrono::duration<double, std::nano>(now - begin).count() / all, (process_cpu_ns() - cpu) / all};
}

int work(const Options& options) {
  const std::size_t bytes = options.mib * kMiB;
  void* memory = nullptr;
  if (options.memory == "ours") {
    if (start()) return 1;
    memory = alloc(bytes, kPage);
  } else {
    memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) memory = nullptr;
    if (memory != nullptr) ::madvise(memory, bytes, MADV_NOHUGEPAGE);
  }
  if (memory == nullptr) return 1;
  Pattern pattern(options.inside, static_cast<std::uint32_t>(bytes / kPage), static_cast<std::uint64_t>(::getpid()));
  std::vector<std::uint32_t> pages(1 << 20);
  for (auto& page : pages) page = pattern.next();
  fill(static_cast<std::byte*>(memory), bytes / kPage);
  const bool bursts = options.inside == "bursts";
  touch(static_cast<std::byte*>(memory), pages, options.seconds / 2, bursts);  // to get into the swing
  const Cost cost = touch(static_cast<std::byte*>(memory), pages, options.seconds, bursts);
  fmt::print("{} {}\n", cost.wall, cost.cpu);
  std::fflush(stdout);
  return 0;
}

// Runs this very program as a worker behind `prefix`; nothing if it failed.
template <typename Before>
std::optional<Cost> run_worker(const std::vector<std::string>& prefix, const Options& options,
                               const std::string& pattern, const std::string& memory, Before before) {
  std::vector<std::string> words = prefix;
  const std::string self = std::filesystem::read_symlink("/proc/self/exe");
  for (const std::string& word :
       {self, std::string("--inside"), pattern, std::string("--memory"), memory, std::string("--mib"),
        std::to_string(options.mib), std::string("--seconds"), fmt::format("{}", options.seconds)}) {
    words.push_back(word);
  }
  int ends[2];
  if (::pipe(ends) != 0) return std::nullopt;
  const pid_t child = ::fork();
  if (child == 0) {
    ::dup2(ends[1], STDOUT_FILENO);
    ::close(ends[0]);
    ::close(ends[1]);
    if (!before()) ::_exit(125);
    std::vector<char*> argv;
    argv.reserve(words.size() + 1);
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    ::execv(argv[0], argv.data());
    ::_exit(127);
  }
  ::close(ends[1]);
  char text[64] = {};
  std::size_t got = 0;
  for (ssize_t more; (more = ::read(ends[0], text + got, sizeof text - 1 - got)) > 0;)
    got += static_cast<std::size_t>(more);
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  if (status != 0) return std::nullopt;
  char* rest = nullptr;
  const double wall = std::strtod(text, &rest);
  return Cost{wall, std::strtod(rest, nullptr)};
}

int compare(const Options& options, const std::vector<std::string>& patterns) {
  // Beside its memory a worker needs some for itself; under the control group that counts, too.
  constexpr std::size_t kItself = 12 * kMiB;
  const std::size_t local = options.mib * options.fit / 100 / 2 * 2;
  const auto peer = SwapPeer::set_up(options.mib * kMiB + 64 * kMiB);
  if (!peer && !options.json) fmt::print("no peer: {}\n", describe(peer.error()));
  const std::string launcher = std::filesystem::read_symlink("/proc/self/exe").replace_filename("dsmrun").string();
  const std::vector<std::string> ours = {
      launcher, "-n", "1", "--memory-nodes", "2", "--local-memory", fmt::format("{}M", local), "--"};
  std::vector<Row> rows;
  for (const std::string& pattern : patterns) {
    std::vector<double> own[2], theirs[2];
    for (unsigned round = 0; round < options.rounds; ++round) {
      const auto bound = [&] { return (*peer)->bound_this_process(local * kMiB + kItself); };
      const auto ours_cost = run_worker(ours, options, pattern, "ours", [] { return true; });
      std::optional<Cost> peer_cost = Cost{};
      for (int tries = 0; peer && tries < 3; ++tries) {  // the kernel may end it, although there is swap left
        peer_cost = run_worker({}, options, pattern, "malloc", bound);
        if (peer_cost) break;
      }
      if (!ours_cost || !peer_cost) {
        fmt::print(stderr, "bench_bounded: a worker failed ({})\n", pattern);
        return 1;
      }
      own[0].push_back(ours_cost->wall), own[1].push_back(ours_cost->cpu);
      theirs[0].push_back(peer_cost->wall), theirs[1].push_back(peer_cost->cpu);
    }
    for (const bool cpu : {false, true}) {
      Row row;
      row.name = fmt::format("{} of a touch, {}, {} % fits", cpu ? "CPU" : "time", pattern, options.fit);
      row.value = median(own[cpu]);
      row.unit = "ns";
      if (peer) row.peer = median(theirs[cpu]), row.peer_name = (*peer)->name();
      if (peer && !cpu) row.goal = Goal::kRatioAtMost, row.bound = 1;
      rows.push_back(row);
      if (options.json) fmt::print("{}\n", row.to_json());
    }
    std::fflush(stdout);
  }
  if (!options.json) print_table(rows);
  return 0;
}

}  // namespace
}  // namespace dsm::bench

int main(int argc, char** argv) {
  dsm::support::CommandLine app("Memory that does not fit: two memory nodes beside swap on a RAM disk.",
                                "bench_bounded");
  dsm::bench::Options options;
  std::vector<std::string> patterns = {"random", "zipf", "sequential", "bursts"};
  app.option("--mib", options.mib, "memory of the program").show_default();
  app.option("--fit", options.fit, "percent of it that fits").range(5, 100).show_default();
  app.option("--seconds", options.seconds, "of a round").show_default();
  app.option("--rounds", options.rounds, "of each side, in turn").show_default();
  app.option("--patterns", patterns, "of: random zipf sequential bursts").list().show_default();
  app.flag("--json", options.json, "one JSON object a line");
  app.option("--inside", options.inside).hidden();
  app.option("--memory", options.memory).hidden();
  if (const auto status = app.parse(argc, argv)) return *status;
  return options.inside.empty() ? dsm::bench::compare(options, patterns) : dsm::bench::work(options);
}
