// <dsm/atomic.h>: each operation holds the word's page in object mode, then changes the word at its home.
#include <dsm/atomic.h>

#include <atomic>
#include <optional>

#include "base/check.h"
#include "base/signals.h"
#include "hints/borrow.h"
#include "runtime/lost.h"
#include "runtime/misuse.h"

namespace dsm::detail {
namespace {

using hints::Engine;

// The word's page is in object mode here while this lives.
class Word {
 public:
  Word(const void* word, call_site site) : engine_(hints::engine()), address_(reinterpret_cast<std::uint64_t>(word)) {
    const Geometry& geometry = engine_.node.geometry;
    const runtime::CallSite place{site.file, site.line};
    if (!geometry.holds(address_)) {
      runtime::end_for_misuse("a dsm::atomic outside the global heap, where other nodes cannot use it, at", address_,
                              place, "", {});
    }
    home_ = engine_.alone ? engine_.node.self : geometry.home(geometry.page_of(address_));
    if (engine_.alone) return;
    pin_ = &runtime::my_pins().take();
    pin_->site = place;
    pin_->borrow.stage = proto::BorrowStage::kIdle;
    engine_.objects.pin(*pin_, address_, sizeof(std::uint64_t), runtime::PinKind::kFetch);
  }
  ~Word() {
    if (pin_ != nullptr) engine_.objects.unpin(*pin_);
  }
  Word(const Word&) = delete;
  Word& operator=(const Word&) = delete;

  // For the processor's own atomics; nullptr: they would not be atomic with other nodes'.
  std::uint64_t* here() const {
    if (home_ != engine_.node.self || !engine_.node.transport->cpu_atomics_agree()) return nullptr;
    return reinterpret_cast<std::uint64_t*>(engine_.in_place(address_));
  }
  std::uint64_t execute(net::Op op) const {
    op.offset = address_ - engine_.node.geometry.base;
    std::optional<SignalsBlocked> blocked;
    if (engine_.node.transport->takes_locks()) blocked.emplace();
    runtime::execute_or_end(engine_.node, home_, {&op, 1});
    if (home_ != engine_.node.self) count(engine_.node.stats->op_atomic);
    return op.old;
  }
  std::uint64_t swap(std::uint64_t expected, std::uint64_t desired) const {
    return execute(net::cas_op(net::Region::kMemory, 0, expected, desired));
  }
  // Swaps in next(value) until nobody else was faster; the value before.
  template <typename Next>
  std::uint64_t update(Next next) const {
    if (std::uint64_t* const word = here()) {
      const std::atomic_ref<std::uint64_t> at(*word);
      std::uint64_t seen = at.load(std::memory_order_relaxed);
      while (!at.compare_exchange_weak(seen, next(seen))) {
      }
      return seen;
    }
    std::uint64_t guess = 0;
    for (std::uint64_t seen = load();; seen = guess) {
      guess = swap(seen, next(seen));
      if (guess == seen) return seen;
    }
  }
  std::uint64_t load() const {
    if (std::uint64_t* const word = here()) return std::atomic_ref<std::uint64_t>(*word).load();
    std::uint64_t value = 0;
    execute(net::read_op(net::Region::kMemory, 0, &value, sizeof value));
    return value;
  }

 private:
  Engine& engine_;
  const std::uint64_t address_;
  NodeId home_ = 0;
  runtime::Pin* pin_ = nullptr;
};

}  // namespace

std::uint64_t word_load(const void* word, call_site site) { return Word(word, site).load(); }

std::uint64_t word_exchange(void* word, std::uint64_t value, call_site site) {
  return Word(word, site).update([&](std::uint64_t) { return value; });
}

std::uint64_t word_swap(void* word, std::uint64_t expected, std::uint64_t desired, call_site site) {
  const Word at(word, site);
  if (std::uint64_t* const here = at.here()) {
    std::atomic_ref<std::uint64_t>(*here).compare_exchange_strong(expected, desired);
    return expected;
  }
  return at.swap(expected, desired);
}

std::uint64_t word_add(void* word, std::uint64_t value, call_site site) {
  const Word at(word, site);
  if (std::uint64_t* const here = at.here()) return std::atomic_ref<std::uint64_t>(*here).fetch_add(value);
  return at.execute(net::fetch_add_op(net::Region::kMemory, 0, value));
}

std::uint64_t word_and(void* word, std::uint64_t value, call_site site) {
  return Word(word, site).update([&](std::uint64_t seen) { return seen & value; });
}
std::uint64_t word_or(void* word, std::uint64_t value, call_site site) {
  return Word(word, site).update([&](std::uint64_t seen) { return seen | value; });
}
std::uint64_t word_xor(void* word, std::uint64_t value, call_site site) {
  return Word(word, site).update([&](std::uint64_t seen) { return seen ^ value; });
}

}  // namespace dsm::detail
