#include "advise/advice.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <map>
#include <optional>
#include <set>

#include "advise/blocks.h"

namespace dsm::advise {
namespace {

constexpr std::size_t kUnknownSite = SIZE_MAX;
constexpr std::uint64_t kOnePass = 2;  // faults of a node on a page that it fills or reads once

constexpr std::size_t kMoreLines = 3;  // that a hint is shown for
constexpr double kMuch = 5;            // at least so great a part of what the first line costs

struct Group {
  Suggestion text;
  Vote vote;
  std::map<std::string, AccessLine> accesses;
  std::map<unsigned, double> ns_by_node;
  std::map<unsigned, double> home_ns;  // of ns_by_node: of pages that stayed home, which no hint makes cheaper
  std::map<PageId, double> locked_ns;  // of faults under a lock, by its page
  std::map<unsigned, std::set<std::uint32_t>> threads;
  std::map<std::string, std::uint64_t> addresses;  // sampled ones, by the line that touched them
  std::uint64_t home_faults = 0;
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

// Whether an address of a sample's stack is behind the call that it stands for.
bool after_call(const insight::Sample& sample, std::size_t i) {
  return i != 0 || sample.what == insight::What::kLockWait;
}

class Analysis {
 public:
  Analysis(const ProfileFile& file, Symbols& symbols)
      : file_(file), symbols_(symbols), blocks_(file), begin_ns_(file.begin_ns()) {}
  Report run();

 private:
  template <typename Do>
  void for_samples(Do act) const;
  void place_pages();
  void add_page(const PageUse& page);
  void add_lock(const PageUse& lock);
  void add_sample(unsigned node, const insight::Sample& sample);
  void add_event(unsigned node, const insight::Sample& sample, std::size_t site, const std::vector<Frame>& frames);
  template <typename Do>
  void for_addresses(Do act) const;
  void add_address(unsigned node, const insight::AddressSample& sample);
  void fill_addresses(const insight::NodePart& part);
  void fill_nodes();
  void rank();
  void finish(Group& group) const;
  void predict(Group& group) const;
  std::size_t site_of(PageId page) const;

  const ProfileFile& file_;
  Symbols& symbols_;
  BlockMap blocks_;
  const std::int64_t begin_ns_;
  std::map<PageId, std::size_t> site_by_page_;
  std::map<std::size_t, Group> groups_;  // by site
  std::map<PageId, std::size_t> site_by_lock_;
  std::map<std::string, std::uint32_t> place_numbers_;
  Report report_;
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

template <typename Do>
void Analysis::for_addresses(Do act) const {
  for (unsigned node = 0; node < file_.nodes(); ++node) {
    const insight::NodePart& part = file_.part(node);
    const std::size_t count = std::min<std::size_t>(part.addresses.load(), insight::kAddresses);
    for (std::size_t i = 0; i < count; ++i) {
      if (part.address[i].tid != 0) act(node, part.address[i]);
    }
  }
}

// A page belongs to the site that most of its faults were in.
void Analysis::place_pages() {
  const Geometry geometry = file_.geometry();
  std::map<PageId, std::map<std::size_t, std::uint64_t>> votes;
  for_samples([&](unsigned, const insight::Sample& sample) {
    if (sample.what == insight::What::kLockWait) return;
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
  const NodeId home = file_.geometry().home(page.page);
  group.vote.add(page, home);
  if (page.stayed_home(home)) {
    group.home_ns[home] += static_cast<double>(page.fault_ns());
    group.home_faults += page.faults();
  }
  for (const NodeUse& use : page.nodes) {
    text.faults += use.faults();
    text.waits += use.waits;
    text.fault_ns += use.fault_ns;
    text.bytes += use.moved * kPageBytes;
    if (use.faults() != 0) text.nodes |= node_bit(use.node);
    group.ns_by_node[use.node] += static_cast<double>(use.fault_ns);
    if (use.locked != 0) {
      const double share = static_cast<double>(use.locked) / static_cast<double>(std::max(use.faults(), use.locked));
      group.locked_ns[use.lock_page] += share * static_cast<double>(use.fault_ns) + 1;
    }
    group.again += use.faults() > kOnePass ? use.faults() - kOnePass : 0;
  }
}

// What waiting for a lock costs belongs to the memory that is used under it; a lock under which nothing faulted stands
// for itself.
void Analysis::add_lock(const PageUse& lock) {
  std::size_t site = kUnknownSite - 1 - site_by_lock_.size();
  double most = 0;
  for (const auto& [candidate, group] : groups_) {
    const auto under = group.locked_ns.find(lock.page);
    if (under == group.locked_ns.end() || under->second <= most) continue;
    most = under->second;
    site = candidate;
  }
  site_by_lock_[lock.page] = site;
  Group& group = groups_[site];
  for (const NodeUse& use : lock.nodes) {
    group.vote.add(Pattern::kLockProtected, use.wait_ns);
    group.text.lock_waits += use.waits;
    group.text.lock_wait_ns += use.wait_ns;
    if (use.waits != 0) group.text.nodes |= node_bit(use.node);
    group.ns_by_node[use.node] += static_cast<double>(use.wait_ns);
  }
}

void Analysis::add_sample(unsigned node, const insight::Sample& sample) {
  const bool lock = sample.what == insight::What::kLockWait;
  const auto lock_site = site_by_lock_.find(sample.page);
  if (lock && lock_site == site_by_lock_.end()) return;
  const std::size_t site = lock ? lock_site->second : site_of(sample.page);
  Group& group = groups_[site];
  group.threads[node].insert(sample.tid);
  std::vector<Frame> frames = own_frames(symbols_, node, sample.stack, sample.depth, !lock);
  add_event(node, sample, site, frames);
  if (frames.empty()) return;
  const std::size_t hint_at = line_for_hint(frames);
  AccessLine& line = group.accesses[frames.front().place() + '\n' + frames[hint_at].place()];
  if (line.frames.empty()) line = {std::move(frames), hint_at};
  if (line.what == insight::What::kReadFault) line.what = sample.what;
  line.faults += sample.weight;
  line.fault_ns += static_cast<double>(sample.weight) * static_cast<double>(sample.fault_ns);
}

void Analysis::add_event(unsigned node, const insight::Sample& sample, std::size_t site,
                         const std::vector<Frame>& frames) {
  Event event{node,
              sample.tid,
              sample.at_ns - begin_ns_,
              sample.fault_ns,
              sample.weight,
              sample.what,
              sample.page,
              file_.geometry().address_of(sample.page) + sample.offset,
              site,
              {}};
  for (const Frame& frame : frames) {
    const auto [place, fresh] = place_numbers_.emplace(frame.text(), static_cast<std::uint32_t>(report_.places.size()));
    if (fresh) report_.places.push_back(place->first);
    event.stack.push_back(place->second);
  }
  report_.events.push_back(std::move(event));
}

void Analysis::add_address(unsigned node, const insight::AddressSample& sample) {
  const Geometry geometry = file_.geometry();
  if (!geometry.holds(sample.address)) return;
  const auto block = blocks_.site_at(sample.address);
  Group& group = groups_[block ? *block : site_of(geometry.page_of(sample.address))];
  const std::vector<Frame> frames = own_frames(symbols_, node, &sample.code, 1, true);
  ++group.text.addresses;
  if (!frames.empty()) ++group.addresses[frames.front().place()];
}

void Analysis::fill_addresses(const insight::NodePart& part) {
  Addresses& sum = report_.addresses;
  if (sum.source.empty()) {
    sum.source.assign(part.address_source, ::strnlen(part.address_source, sizeof part.address_source));
    sum.event.assign(part.address_event, ::strnlen(part.address_event, sizeof part.address_event));
    sum.error = static_cast<int>(part.address_errno.load());
  }
  sum.kept += std::min<std::uint64_t>(part.addresses.load(), insight::kAddresses);
  sum.lost += part.addresses_lost.load() + part.addresses.load() -
              std::min<std::uint64_t>(part.addresses.load(), insight::kAddresses);
  sum.elsewhere += part.addresses_elsewhere.load();
}

void Analysis::finish(Group& group) const {
  Suggestion& text = group.text;
  text.pattern = group.vote.winner();
  text.pattern_share = group.vote.share();
  for (auto& [key, line] : group.accesses) text.accesses.push_back(std::move(line));
  std::stable_sort(text.accesses.begin(), text.accesses.end(),
                   [](const AccessLine& a, const AccessLine& b) { return a.fault_ns > b.fault_ns; });
  std::uint64_t most = 0;
  for (const auto& [line, count] : group.addresses) {
    if (count > most) text.address_line = line;
    most = std::max(most, count);
  }
  const bool disturbed = group.again * 2 >= text.faults;
  const bool at_home = text.faults != 0 && text.faults == group.home_faults && text.lock_waits == 0;
  text.hint = at_home ? Hint::kNone : text.faults == 0 ? Hint::kGuarded : hint_for(text.pattern, disturbed);
  text.also = more_for(text.pattern, disturbed, text.block_bytes != 0 && text.block_bytes * 4 <= kPageBytes);
  if (text.also == text.hint) text.also = Hint::kNone;
  const bool writes = text.hint == Hint::kBorrowMut || text.hint == Hint::kTransfer;
  const insight::What what = text.faults == 0 ? insight::What::kLockWait
                             : writes         ? insight::What::kWriteFault
                                              : insight::What::kReadFault;
  const auto wanted = std::find_if(text.accesses.begin(), text.accesses.end(),
                                   [&](const AccessLine& line) { return line.what == what; });
  if (wanted != text.accesses.end()) text.access = static_cast<std::size_t>(wanted - text.accesses.begin());
  for (std::size_t i = text.access + 1; i < text.accesses.size() && text.more.size() < kMoreLines; ++i) {
    const AccessLine& line = text.accesses[i];
    if (line.what == what && line.fault_ns * kMuch >= text.accesses[text.access].fault_ns) text.more.push_back(i);
  }
  predict(group);
}

// What the node loses that loses most, and would with the hint.
void Analysis::predict(Group& group) const {
  Suggestion& text = group.text;
  const Network network = network_of(file_.head().emulate);
  double all_home = 0;
  for (const auto& [node, ns] : group.home_ns) all_home += ns;
  const double away = static_cast<double>(text.fault_ns + text.lock_wait_ns) - all_home;
  const auto faults_away = static_cast<double>(text.faults - group.home_faults);
  for (const auto& [node, ns] : group.ns_by_node) {
    const auto threads = group.threads.find(node);
    const auto count = static_cast<double>(threads != group.threads.end() ? threads->second.size() : 1);
    const double seconds = ns / count / 1e9;
    if (seconds <= text.now_s) continue;
    const auto found = group.home_ns.find(node);
    const double home = found == group.home_ns.end() ? 0 : found->second;
    const double share = away == 0 ? 0 : (ns - home) / away;
    const double then =
        home + cost_with(text.hint, faults_away * share, static_cast<double>(text.bytes) * share, network);
    text.now_s = seconds;
    text.then_s = std::min(seconds, then / count / 1e9);
  }
  if (text.hint == Hint::kNone) text.then_s = text.now_s;
}

Report Analysis::run() {
  blocks_.want(symbols_);
  for_samples([&](unsigned node, const insight::Sample& sample) {
    for (std::size_t i = 0; i < sample.depth; ++i) symbols_.want({node, sample.stack[i], after_call(sample, i)});
  });
  for_addresses([&](unsigned node, const insight::AddressSample& sample) {
    symbols_.want({node, sample.code, false});
  });
  symbols_.resolve();
  blocks_.build(symbols_);
  place_pages();
  const Geometry geometry = file_.geometry();
  const std::vector<PageUse> pages = file_.pages();
  for (const PageUse& page : pages) {
    if (geometry.has_bytes(page.page)) add_page(page);
  }
  for (const PageUse& page : pages) {
    if (!geometry.has_bytes(page.page)) add_lock(page);
  }
  for_samples([&](unsigned node, const insight::Sample& sample) { add_sample(node, sample); });
  for_addresses([&](unsigned node, const insight::AddressSample& sample) { add_address(node, sample); });

  fill_nodes();
  rank();
  return std::move(report_);
}

void Analysis::fill_nodes() {
  report_.seconds = static_cast<double>(file_.end_ns() - begin_ns_) / 1e9;
  report_.nodes = file_.nodes();
  for (unsigned node = 0; node < file_.nodes(); ++node) {
    const insight::NodePart& part = file_.part(node);
    report_.faults += part.faults.load();
    report_.lost_faults += part.faults_without_slot.load();
    report_.samples += file_.samples(node);
    report_.stacks_ns += part.stacks_ns.load();
    if (report_.engines.empty()) report_.engines.assign(part.engine, ::strnlen(part.engine, sizeof part.engine));
    NodeCounts counts;
    counts.source.assign(part.counters_source, ::strnlen(part.counters_source, sizeof part.counters_source));
    for (const insight::Counted& one : part.counted) {
      if (one.name[0] == '\0') continue;
      counts.values.emplace_back(std::string(one.name, ::strnlen(one.name, sizeof one.name)), one.value.load());
    }
    report_.counts.push_back(std::move(counts));
    fill_addresses(part);
  }
}

// The suggestions in their order, and the events told which is theirs.
void Analysis::rank() {
  std::vector<std::pair<std::size_t, Suggestion>> ranked;
  const Plan plan = plan_of(file_);
  for (auto& [site, group] : groups_) {
    if (site < blocks_.sites().size()) {
      const Site& known = blocks_.sites()[site];
      group.text.site = known.frames;
      group.text.blocks = known.blocks;
      group.text.block_bytes = known.blocks == 0 ? 0 : known.bytes / known.blocks;
      group.text.automatic = plan.serving_of(known.calls);
    }
    finish(group);
    if (group.text.faults + group.text.lock_waits != 0) ranked.emplace_back(site, std::move(group.text));
  }
  const auto gain = [](const auto& one) { return one.second.now_s - one.second.then_s; };
  std::stable_sort(ranked.begin(), ranked.end(), [&](const auto& a, const auto& b) { return gain(a) > gain(b); });
  std::map<std::size_t, std::size_t> rank_of;
  for (auto& [site, suggestion] : ranked) {
    rank_of[site] = report_.suggestions.size();
    report_.suggestions.push_back(std::move(suggestion));
  }
  std::erase_if(report_.events, [&](const Event& event) { return !rank_of.contains(event.suggestion); });
  for (Event& event : report_.events) event.suggestion = rank_of[event.suggestion];
}

}  // namespace

Report analyse(const ProfileFile& file, Symbols& symbols) { return Analysis(file, symbols).run(); }

std::string Suggestion::line() const {
  if (hint == Hint::kNone) return "";
  if (hint == Hint::kPlacement) return site.empty() ? "" : site.front().place();
  return accesses.empty() ? "" : line_of(accesses[access]);
}

std::vector<std::string> Suggestion::more_lines() const {
  std::vector<std::string> lines;
  if (hint == Hint::kNone || hint == Hint::kPlacement) return lines;
  for (const std::size_t i : more) {
    std::string place = line_of(accesses[i]);
    if (place != line() && std::find(lines.begin(), lines.end(), place) == lines.end()) lines.push_back(place);
  }
  return lines;
}

std::string Suggestion::line_of(const AccessLine& of) const { return of.frames[in_caller() ? of.hint_at : 0].place(); }

std::string Suggestion::access_line() const {
  return accesses.empty() || hint == Hint::kPlacement ? "" : accesses[access].frames.front().place();
}

// A borrow goes where the object's pointer is; memory is prefetched where it is read.
bool Suggestion::in_caller() const { return hint == Hint::kBorrowMut || hint == Hint::kBorrowShared; }

}  // namespace dsm::advise
