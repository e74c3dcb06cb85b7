#include "tests/sim/explorer.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace dsm::sim {
namespace {

std::uint64_t hash_of(const char* bytes, std::size_t size) {
  std::uint64_t hash = 0x9e3779b97f4a7c15 * (size + 1);
  const auto mix = [&hash](std::uint64_t word) {
    hash = (hash ^ word) * 0xbf58476d1ce4e5b9;
    hash ^= hash >> 29;
    hash *= 0x94d049bb133111eb;
    hash ^= hash >> 32;
  };
  for (; size >= 8; bytes += 8, size -= 8) {
    std::uint64_t word;
    std::memcpy(&word, bytes, 8);
    mix(word);
  }
  std::uint64_t rest = 0;
  std::memcpy(&rest, bytes, size);
  mix(rest);
  return hash;
}

}  // namespace

Explorer::Explorer(const Options& options, const Limits& limits)
    : options_(options), limits_(limits), simulator_(options, nullptr), hashes_(1u << 16), places_(1u << 16, kNone) {
  simulator_.leave_chance_to(&choices_);
}

Found Explorer::run() {
  arrive({kNone, 0, 0});
  try {
    while (!next_.empty() && !over()) {
      level_ = std::exchange(next_, {});
      for (Open& open : level_) {
        expand(open);
        open.bytes = {};
        if (over()) break;
      }
      if (over()) break;
      if (!next_.empty()) ++found_.depth;
    }
    found_.exhausted = next_.empty() && !over();
    if (found_.exhausted) check_ways_out();
  } catch (const Failure& failure) {
    found_.failure = failure;
  }
  found_.states = reached_.size();
  found_.ends = ends_.size();
  found_.seconds = seconds();
  return found_;
}

bool Explorer::over() const {
  return reached_.size() >= limits_.states || found_.depth >= limits_.depth || seconds() >= limits_.seconds;
}

void Explorer::expand(const Open& open) {
  first_way_.push_back(ways_.size());
  simulator_.load(open.bytes);
  const std::vector<unsigned> actors = simulator_.movable();
  if (actors.empty()) return end(open);
  for (const unsigned actor : actors) move(open, actor);
}

void Explorer::move(const Open& open, unsigned actor) {
  Step step{open.index, static_cast<std::uint16_t>(actor), 0};
  do {
    simulator_.load(open.bytes);
    try {
      simulator_.move(actor);
    } catch (const Failure&) {
      tell(open.index, step);
      throw;
    }
    ++found_.steps;
    arrive(step);
    ++step.choice;
  } while (choices_.next());
}

// The simulator stands in a state that may be new.
void Explorer::arrive(Step step) {
  simulator_.normalise();
  const std::size_t canonical = simulator_.save(bytes_);
  bool known = false;
  const std::uint32_t index = place_of(hash_of(bytes_.data(), canonical), known);
  if (step.from != kNone) ways_.push_back(index);
  if (known) return;
  reached_.push_back(step);
  next_.push_back({index, bytes_});
}

void Explorer::end(const Open& open) {
  ends_.push_back(open.index);
  try {
    simulator_.finish();
  } catch (const Failure&) {
    tell(open.index, std::nullopt);
    throw;
  }
}

std::uint32_t Explorer::place_of(std::uint64_t hash, bool& known) {
  if (reached_.size() * 2 >= places_.size()) grow();
  std::size_t slot = hash & (places_.size() - 1);
  for (; places_[slot] != kNone; slot = (slot + 1) & (places_.size() - 1)) {
    if (hashes_[slot] != hash) continue;
    known = true;
    return places_[slot];
  }
  hashes_[slot] = hash;
  return places_[slot] = static_cast<std::uint32_t>(reached_.size());
}

void Explorer::grow() {
  const std::vector<std::uint64_t> hashes = std::exchange(hashes_, std::vector<std::uint64_t>(hashes_.size() * 2));
  const std::vector<std::uint32_t> places =
      std::exchange(places_, std::vector<std::uint32_t>(places_.size() * 2, kNone));
  for (std::size_t i = 0; i < places.size(); ++i) {
    if (places[i] == kNone) continue;
    std::size_t slot = hashes[i] & (places_.size() - 1);
    while (places_[slot] != kNone) slot = (slot + 1) & (places_.size() - 1);
    hashes_[slot] = hashes[i];
    places_[slot] = places[i];
  }
}

// From every state there is a way to an end: backwards from the ends everything is reached.
void Explorer::check_ways_out() {
  first_way_.push_back(ways_.size());
  std::vector<std::uint64_t> first(reached_.size() + 1);
  for (const std::uint32_t to : ways_) ++first[to + 1];
  for (std::size_t i = 1; i < first.size(); ++i) first[i] += first[i - 1];
  std::vector<std::uint32_t> before(ways_.size());
  std::vector<std::uint64_t> next(first.begin(), first.end() - 1);
  for (std::uint32_t from = 0; from < reached_.size(); ++from) {
    for (std::uint64_t i = first_way_[from]; i < first_way_[from + 1]; ++i) before[next[ways_[i]]++] = from;
  }
  std::vector<bool> leads_out(reached_.size());
  std::vector<std::uint32_t> waiting = ends_;
  for (const std::uint32_t state : waiting) leads_out[state] = true;
  while (!waiting.empty()) {
    const std::uint32_t state = waiting.back();
    waiting.pop_back();
    for (std::uint64_t i = first[state]; i < first[state + 1]; ++i) {
      if (leads_out[before[i]]) continue;
      leads_out[before[i]] = true;
      waiting.push_back(before[i]);
    }
  }
  const auto caught = std::find(leads_out.begin(), leads_out.end(), false);
  if (caught == leads_out.end()) return;
  tell(static_cast<std::uint32_t>(caught - leads_out.begin()), std::nullopt);
  throw Failure{Check::kStuck, "no way from here leads to an end at which nobody waits"};
}

// Plays the way to a state once more, and writes it down.
void Explorer::tell(std::uint32_t last, std::optional<Step> further) {
  std::vector<Step> way;
  if (further) way.push_back(*further);
  for (std::uint32_t at = last; reached_[at].from != kNone; at = reached_[at].from) way.push_back(reached_[at]);
  std::reverse(way.begin(), way.end());
  Trace trace(false, Trace::kAll);
  Choices choices;
  Simulator again(options_, &trace);
  again.leave_chance_to(&choices);
  std::string bytes;
  for (const Step& step : way) {
    again.save(bytes);
    for (unsigned choice = 0;; ++choice) {
      const std::size_t lines = trace.lines().size();
      try {
        again.move(step.actor);
      } catch (const Failure&) {
        if (choice == step.choice) break;
      }
      if (choice == step.choice) break;
      trace.cut(lines);
      again.load(bytes);
      choices.next();
    }
    choices = {};
  }
  try {
    if (!further) again.finish();
  } catch (const Failure&) {  // the caller's
  }
  found_.trace.assign(trace.lines().begin(), trace.lines().end());
}

}  // namespace dsm::sim
