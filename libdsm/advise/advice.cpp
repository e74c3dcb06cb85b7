#include "advise/advice.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstring>
#include <map>
#include <optional>
#include <set>

#include "advise/blocks.h"

namespace dsm::advise {
namespace {

constexpr std::size_t kUnknownSite = SIZE_MAX;
constexpr std::uint64_t kOnePass = 2;    // faults of a node on a page that it fills or reads once
constexpr double kShmRoundTripNs = 300;  // bench_object: the first read of a remote object
constexpr double kShmBytesPerUs = 5000;

struct Group {
  Suggestion text;
  Vote vote;
  std::map<std::string, AccessLine> accesses;
  std::map<unsigned, double> ns_by_node;
  std::map<unsigned, std::set<std::uint32_t>> threads;
  std::uint64_t again = 0;  // faults beyond those that filling it once and reading it once would take
};

// The hint goes where the object's pointer is: not into an inlined member or function that only does the access.
std::size_t line_for_hint(const std::vector<Frame>& frames) {
  if (frames.size() < 2 || !frames.front().inlined) return 0;
  const bool lambda = frames.front().function.find("{lambda") != std::string::npos ||
                      frames.front().function.ends_with("operator()") ||
                      frames.front().function.find("::operator()(") != std::string::npos;
  return lambda ? 0 : 1;
}

class Analysis {
 public:
  Analysis(const ProfileFile& file, Symbols& symbols) : file_(file), symbols_(symbols), blocks_(file) {}
  Report run();

 private:
  template <typename Do>
  void for_samples(Do act) const;
  void place_pages();
  void add_page(const PageUse& page);
  void add_sample(unsigned node, const insight::Sample& sample);
  void finish(Group& group) const;
  std::size_t site_of(PageId page) const;

  const ProfileFile& file_;
  Symbols& symbols_;
  BlockMap blocks_;
  std::map<PageId, std::size_t> site_by_page_;
  std::map<std::size_t, Group> groups_;  // by site
};

template <typename Do>
void Analysis::for_samples(Do act) const {
  for (unsigned node = 0; node < file_.nodes(); ++node) {
    for (std::size_t i = 0; i < file_.samples(node); ++i) {
      const insight::Sample& sample = file_.part(node).sample[i];
      if (sample.weight != 0 && sample.depth <= insight::kDepth) act(node, sample);
    }
  }
}

// A page belongs to the site that most of its faults were in.
void Analysis::place_pages() {
  const Geometry geometry = file_.geometry();
  std::map<PageId, std::map<std::size_t, std::uint64_t>> votes;
  for_samples([&](unsigned, const insight::Sample& sample) {
    if (const auto site = blocks_.site_at(geometry.address_of(sample.page) + sample.offset)) {
      votes[sample.page][*site] += sample.weight;
    }
  });
  for (const auto& [page, sites] : votes) {
    const auto most =
        std::max_element(sites.begin(), sites.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
    site_by_page_[page] = most->first;
  }
}

std::size_t Analysis::site_of(PageId page) const {
  if (const auto found = site_by_page_.find(page); found != site_by_page_.end()) return found->second;
  return blocks_.site_near(file_.geometry().address_of(page)).value_or(kUnknownSite);
}

void Analysis::add_page(const PageUse& page) {
  Group& group = groups_[site_of(page.page)];
  Suggestion& text = group.text;
  ++text.pages;
  group.vote.add(classify(page), page.fault_ns());
  for (const NodeUse& use : page.nodes) {
    text.faults += use.faults();
    text.waits += use.waits;
    text.fault_ns += use.fault_ns;
    text.bytes += use.moved * kPageBytes;
    if (use.faults() != 0) text.nodes |= node_bit(use.node);
    group.ns_by_node[use.node] += static_cast<double>(use.fault_ns);
    group.again += use.faults() > kOnePass ? use.faults() - kOnePass : 0;
  }
}

void Analysis::add_sample(unsigned node, const insight::Sample& sample) {
  Group& group = groups_[site_of(sample.page)];
  group.threads[node].insert(sample.tid);
  std::vector<Frame> frames = own_frames(symbols_, node, sample.stack, sample.depth, true);
  if (frames.empty()) return;
  const std::size_t hint_at = line_for_hint(frames);
  AccessLine& line = group.accesses[frames.front().place() + '\n' + frames[hint_at].place()];
  if (line.frames.empty()) line = {std::move(frames), hint_at};
  line.write |= sample.write != 0;
  line.faults += sample.weight;
  line.fault_ns += static_cast<double>(sample.weight) * static_cast<double>(sample.fault_ns);
}

void Analysis::finish(Group& group) const {
  Suggestion& text = group.text;
  text.pattern = group.vote.winner();
  text.pattern_share = group.vote.share();
  for (auto& [key, line] : group.accesses) text.accesses.push_back(std::move(line));
  std::stable_sort(text.accesses.begin(), text.accesses.end(),
                   [](const AccessLine& a, const AccessLine& b) { return a.fault_ns > b.fault_ns; });
  text.hint = hint_for(text.pattern, group.again * 2 >= text.faults);
  const bool writes = text.hint == Hint::kBorrowMut || text.hint == Hint::kTransfer;
  const auto wanted = std::find_if(text.accesses.begin(), text.accesses.end(),
                                   [&](const AccessLine& line) { return line.write == writes; });
  if (wanted != text.accesses.end()) text.access = static_cast<std::size_t>(wanted - text.accesses.begin());
  const Network network = network_of(file_.head().emulate);
  for (const auto& [node, ns] : group.ns_by_node) {
    const auto threads = group.threads.find(node);
    const auto count = static_cast<double>(threads != group.threads.end() ? threads->second.size() : 1);
    const double seconds = ns / count / 1e9;
    if (seconds <= text.now_s) continue;
    const double share = text.fault_ns == 0 ? 0 : ns / static_cast<double>(text.fault_ns);
    text.now_s = seconds;
    text.then_s = std::min(seconds, cost_with(text.hint, static_cast<double>(text.faults) * share,
                                              static_cast<double>(text.bytes) * share, network) /
                                        count / 1e9);
  }
  if (text.hint == Hint::kNone) text.then_s = text.now_s;
}

Report Analysis::run() {
  blocks_.want(symbols_);
  for_samples([&](unsigned node, const insight::Sample& sample) {
    for (std::size_t i = 0; i < sample.depth; ++i) symbols_.want({node, sample.stack[i], i != 0});
  });
  symbols_.resolve();
  blocks_.build(symbols_);
  place_pages();
  for (const PageUse& page : file_.pages()) add_page(page);
  for_samples([&](unsigned node, const insight::Sample& sample) { add_sample(node, sample); });

  Report report;
  report.seconds = static_cast<double>(file_.end_ns() - file_.begin_ns()) / 1e9;
  report.nodes = file_.nodes();
  for (unsigned node = 0; node < file_.nodes(); ++node) {
    const insight::NodePart& part = file_.part(node);
    report.faults += part.faults.load();
    report.lost_faults += part.faults_without_slot.load();
    report.samples += file_.samples(node);
    if (report.engines.empty()) report.engines.assign(part.engine, ::strnlen(part.engine, sizeof part.engine));
  }
  for (auto& [site, group] : groups_) {
    finish(group);
    if (site != kUnknownSite) {
      group.text.site = blocks_.sites()[site].frames;
      group.text.blocks = blocks_.sites()[site].blocks;
    }
    if (group.text.faults != 0) report.suggestions.push_back(std::move(group.text));
  }
  std::stable_sort(report.suggestions.begin(), report.suggestions.end(),
                   [](const Suggestion& a, const Suggestion& b) { return a.now_s - a.then_s > b.now_s - b.then_s; });
  return report;
}

}  // namespace

Report analyse(const ProfileFile& file, Symbols& symbols) { return Analysis(file, symbols).run(); }

std::string_view name_of(Hint hint) {
  constexpr std::string_view kNames[kHints] = {"none",     "borrow_mut", "borrow_shared",
                                               "prefetch", "transfer",   "placement"};
  return kNames[static_cast<std::size_t>(hint)];
}

std::string_view advice_for(Hint hint) {
  switch (hint) {
    case Hint::kBorrowMut:
      return "change the object through auto object = dsm::borrow_mut(pointer) (C: dsm_borrow_mut, dsm_release)";
    case Hint::kBorrowShared:
      return "read the object through auto object = dsm::borrow_shared(pointer); dsm::borrow_shared_each for many";
    case Hint::kPrefetch:
      return "call dsm::prefetch(begin, bytes) ahead of this, for all that it is about to touch";
    case Hint::kTransfer:
      return "call dsm::transfer(begin, bytes, node) once the data is written, to the node that reads it next";
    case Hint::kPlacement:
      return "allocate it at the node that uses it: dsm::alloc there, or with dsm::on_node(n)";
    case Hint::kNone:
      break;
  }
  return "nothing: it costs little, or no hint helps";
}

Network network_of(std::string_view emulate) {
  if (emulate == "rdma") return {2'000, 5'000};
  if (emulate == "tcp") return {25'000, 1'100};
  double latency = 0, bandwidth = 0;
  const std::size_t colon = emulate.find(':');
  if (colon == std::string_view::npos) return {kShmRoundTripNs, kShmBytesPerUs};
  std::from_chars(emulate.data(), emulate.data() + colon, latency);
  std::from_chars(emulate.data() + colon + 1, emulate.data() + emulate.size(), bandwidth);
  return {latency, std::max(bandwidth, 1.0)};
}

Hint hint_for(Pattern pattern, bool disturbed) {
  switch (pattern) {
    case Pattern::kPrivate:
      return Hint::kPlacement;
    case Pattern::kReadMostly:
      return disturbed ? Hint::kBorrowShared : Hint::kPrefetch;
    case Pattern::kStreaming:
      return Hint::kPrefetch;
    case Pattern::kProducerConsumer:
      return disturbed ? Hint::kBorrowMut : Hint::kTransfer;
    case Pattern::kMigratory:
    case Pattern::kWriteShared:
    case Pattern::kFalseSharing:
    case Pattern::kLockProtected:
      return Hint::kBorrowMut;
  }
  return Hint::kNone;
}

// At the least, since only faults are known: with a borrow each access that faulted is a round trip and moves a granule
// there and back; what is prefetched comes at the network's speed; what is placed does not move.
double cost_with(Hint hint, double faults, double bytes, const Network& network) {
  switch (hint) {
    case Hint::kBorrowMut:
      return faults * (2 * network.round_trip_ns + 128 / network.bytes_per_us * 1000);
    case Hint::kBorrowShared:
      return faults * (network.round_trip_ns + 64 / network.bytes_per_us * 1000);
    case Hint::kPrefetch:
      return bytes / network.bytes_per_us * 1000;
    case Hint::kTransfer:
      return faults * network.round_trip_ns + bytes / network.bytes_per_us * 1000;
    case Hint::kPlacement:
    case Hint::kNone:
      break;
  }
  return 0;
}

std::string Suggestion::line() const {
  if (hint == Hint::kNone) return "";
  if (hint == Hint::kPlacement) return site.empty() ? "" : site.front().place();
  if (accesses.empty()) return "";
  const AccessLine& line = accesses[access];
  return line.frames[in_caller() ? line.hint_at : 0].place();
}

std::string Suggestion::access_line() const {
  return accesses.empty() || hint == Hint::kPlacement ? "" : accesses[access].frames.front().place();
}

// A borrow goes where the object's pointer is; memory is prefetched where it is read.
bool Suggestion::in_caller() const { return hint == Hint::kBorrowMut || hint == Hint::kBorrowShared; }

}  // namespace dsm::advise
