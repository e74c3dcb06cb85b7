#include "placed/executor.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/log.h"
#include "base/meta_layout.h"
#include "base/signals.h"
#include "heap/heap.h"
#include "hints/borrow.h"
#include "placed/image.h"
#include "placed/inside.h"
#include "placed/parcel.h"
#include "placed/taken.h"
#include "placed/workers.h"
#include "runtime/node.h"
#include "runtime/start_hooks.h"

namespace dsm::placed {
namespace {

using detail::run_records;
using runtime::Caller;
using runtime::Operation;
using runtime::Request;

// So often a call looks again whether its object can be had, before it is set aside.
constexpr int kTries = 20;

std::uint64_t object_of(const std::byte* record) {
  std::uint64_t address = 0;
  std::memcpy(&address, record, sizeof address);
  return address;
}

Executor* made = nullptr;

// As long as the node, which is never destroyed. The hook comes before main(), and so before the node starts.
void start_executor(runtime::Node& node) { (void)std::make_unique<Executor>(node).release(); }
const bool hooked = (runtime::add_start_hook(start_executor), true);

}  // namespace

std::uint64_t SingleCall::object() const { return object_of(record.data()); }

Executor& executor() { return *made; }

Executor::Executor(runtime::Node& node) : node_(node) {
  DSM_CHECK(made == nullptr, "two executors in one process");
  made = this;
  node.on_ring = [] { made->wake(); };
  serve();
}

void Executor::wake() {
  wakes_.fetch_add(1);
  futex_wake(wakes_, 1, FutexScope::kProcess);
}

// --- requests -------------------------------------------------------------------------------------------------------

// Whoever asks so is wrong, and is not left waiting.
void Executor::refuse(Caller caller, const char* what) {
  log(LogLevel::kError, "wire", "node {} has sent {}: ignored", caller.node, what);
  const SignalsBlocked blocked;
  node_.calls->reply(caller, 0);
}

void Executor::serve() {
  node_.calls->handle(Operation::kCallOpen,
                      [this](Caller caller, const Request&) { node_.calls->reply(caller, open_ring()); });
  node_.calls->handle(Operation::kCallFence, [this](Caller caller, const Request& request) { fence(caller, request); });
  node_.calls->handle(Operation::kCallAt, [this](Caller caller, const Request& request) {
    SingleCall call;
    call.run =
        reinterpret_cast<run_records>(reinterpret_cast<std::uintptr_t>(function_at(request.args[0] & 0xffffffff)));
    call.object_bytes = request.args[0] >> 32;
    const std::size_t bytes = request.args[2] & 0xffffffff;
    if (request.args[1] == 0 && bytes > request.text_bytes) return refuse(caller, "a call that is cut off");
    call.record.resize(bytes);
    call.result_bytes = request.args[2] >> 32;
    call.caller = caller;
    call.parcel = request.args[1];
    if (call.parcel != 0) {
      read_parcel(node_, call.parcel, call.record);
    } else {
      std::memcpy(call.record.data(), request.text, call.record.size());
    }
    {
      const Locked locked(lock_);
      requests_.push_back(std::move(call));
      if (doorbell_ == nullptr) start();
    }
    wake();
  });
}

void Executor::fence(Caller caller, const Request& request) {
  const auto wish = static_cast<FenceWish>(request.args[2]);
  Incoming* from = nullptr;
  {
    const Locked locked(lock_);
    from = incoming(request.args[0]);
    if (from != nullptr && wish != FenceWish::kWaitsFor) fences_.push_back({caller, from, request.args[1], wish});
  }
  if (from == nullptr) return refuse(caller, "a ring that is none");
  if (wish != FenceWish::kWaitsFor) return wake();
  const bool waits = waits_for(from->source, request.args[1]);
  const SignalsBlocked blocked;
  node_.calls->reply(caller, waits ? 1 : 0);
}

// The first ring, or the first request, starts the executor's thread.
void Executor::start() {
  void* const block = node_.heap->allocate(kObjectGranule, kObjectGranule, heap::Kind::kObject, false);
  DSM_CHECK(block != nullptr, "no memory for the doorbell");
  doorbell_address_ = reinterpret_cast<std::uint64_t>(block);
  doorbell_ =
      reinterpret_cast<std::atomic<std::uint64_t>*>(node_.service_view + (doorbell_address_ - node_.geometry.base));
  doorbell_->store(0);
  start_thread("dsm-calls", [this] { loop(); });
}

std::uint64_t Executor::open_ring() {
  void* const block = node_.heap->allocate(sizeof(Ring), kObjectGranule, heap::Kind::kObject, false);
  if (block == nullptr) return 0;
  const Locked locked(lock_);
  if (doorbell_ == nullptr) start();
  const auto address = reinterpret_cast<std::uint64_t>(block);
  auto* const ring = reinterpret_cast<Ring*>(node_.service_view + (address - node_.geometry.base));
  ring->ready.store(0);
  ring->taken.store(0);
  ring->doorbell.store(doorbell_address_);
  incoming_.push_back(std::make_unique<Incoming>());
  incoming_.back()->ring = ring;
  incoming_count_.store(incoming_.size());
  return address;
}

Executor::Incoming* Executor::incoming(std::uint64_t ring) {
  const void* const here = node_.service_view + (ring - node_.geometry.base);
  const auto found =
      std::find_if(incoming_.begin(), incoming_.end(), [&](const auto& one) { return one->ring == here; });
  return found == incoming_.end() ? nullptr : found->get();
}

// --- the executor's thread ------------------------------------------------------------------------------------------

void Executor::loop() {
  for (;;) {
    const std::uint32_t seen = wakes_.load();
    bool some = false;
    {
      const std::lock_guard guard(draining_);
      some = drain();
    }
    if (some) continue;
    doorbell_->exchange(1);
    if (!anything_ready()) futex_wait(wakes_, seen, FutexScope::kProcess);
    doorbell_->store(0);
  }
}

bool Executor::help() {
  if (in_call() || !draining_.try_lock()) return false;
  const std::lock_guard guard(draining_, std::adopt_lock);
  return drain();
}

// Holding draining_. False: there was nothing to do.
bool Executor::drain() {
  bool some = false;
  for (std::size_t i = 0; i < incoming_count_.load(); ++i) {
    Incoming* from = nullptr;
    {
      const Locked locked(lock_);
      from = incoming_[i].get();
    }
    some |= take_batches(*from);
  }
  for (;;) {
    SingleCall call;
    {
      const Locked locked(lock_);
      if (requests_.empty()) break;
      call = std::move(requests_.front());
      requests_.pop_front();
    }
    run_single(std::move(call));
    some = true;
  }
  answer_fences();
  return some;
}

bool Executor::anything_ready() {
  const Locked locked(lock_);
  if (!requests_.empty()) return true;
  return std::any_of(incoming_.begin(), incoming_.end(), [](const auto& from) {
    return from->source.aside.load() < kMostAside && from->ring->ready.load() != from->ring->taken.load();
  });
}

// One lap at the most, so that one sender does not keep the others waiting.
bool Executor::take_batches(Incoming& from) {
  Ring& ring = *from.ring;
  const std::uint64_t first = ring.taken.load(std::memory_order_relaxed);
  std::uint64_t at = first;
  for (; at < first + kSlots && from.source.aside.load() < kMostAside; ++at) {
    if (at == ring.ready.load(std::memory_order_acquire)) break;
    RingSlot& slot = ring.slots[at % kSlots];
    run_batch({slot.runs, std::min<std::size_t>(slot.bytes, sizeof slot.runs)}, from.source);
    ring.taken.store(at + 1, std::memory_order_release);
  }
  return at != first;
}

// Fences are answered by who drains, after what it has done; a worker that has done something wakes the executor.
void Executor::answer_fences() {
  std::vector<Caller> done;
  {
    const Locked locked(lock_);
    std::erase_if(fences_, [&](const Fence& fence) {
      const bool passed = fence.from->ring->taken.load() >= fence.batches &&
                          (fence.wish == FenceWish::kTaken || fence.from->source.aside.load() == 0);
      if (passed) done.push_back(fence.caller);
      return passed;
    });
  }
  const SignalsBlocked blocked;
  for (const Caller caller : done) node_.calls->reply(caller, 0);
}

// --- calls ----------------------------------------------------------------------------------------------------------

void Executor::run_batch(std::span<std::byte> runs, Source& source) {
  while (!runs.empty()) {
    RunHead head{};
    std::memcpy(&head, runs.data(), std::min(runs.size(), sizeof head));
    const std::size_t bytes = std::size_t{head.stride} * head.count;
    if (runs.size() < sizeof head || head.stride < 8 || bytes > runs.size() - sizeof head) {
      log(LogLevel::kError, "wire", "a batch of calls has {} bytes left for {} calls of {} bytes: ignored", runs.size(),
          head.count, head.stride);
      return;
    }
    const auto function = reinterpret_cast<run_records>(reinterpret_cast<std::uintptr_t>(function_at(head.function)));
    run_all(head, function, runs.data() + sizeof head, source);
    runs = runs.subspan(sizeof head + bytes);
  }
}

void Executor::run_all(const RunHead& head, run_records function, std::byte* records, Source& source) {
  hints::Engine& engine = hints::engine();
  Taken taken(engine);
  const auto record = [&](std::size_t index) { return records + index * head.stride; };
  for (std::size_t i = 0; i < std::min<std::size_t>(Taken::kMost, head.count); ++i)
    taken.prefetch(object_of(record(i)));
  for (std::size_t i = 0; i < head.count;) {
    for (std::size_t k = i + Taken::kMost; k < std::min<std::size_t>(i + 2 * Taken::kMost, head.count); ++k) {
      taken.prefetch(object_of(record(k)));
    }
    for (int tries = 0; taken.count() == 0 && tries < kTries; ++tries) {
      const std::size_t most = std::min<std::size_t>(Taken::kMost, head.count - i);
      for (std::size_t n = 0; n < most; ++n) {
        const std::uint64_t object = object_of(record(i + n));
        if (is_aside(object) || !taken.take(object, head.object_bytes)) break;
      }
      if (is_aside(object_of(record(i)))) break;
      if (taken.count() == 0) cpu_relax();
    }
    const std::size_t count = taken.count();
    if (count == 0) {
      SingleCall call{.run = function, .object_bytes = head.object_bytes, .record = {}, .source = &source};
      call.record.assign(record(i), record(i) + head.stride);
      set_aside(std::move(call));
      ++i;
      continue;
    }
    run_call(function, taken.objects(), record(i), head.stride, count, nullptr);
    taken.let_go();
    i += count;
  }
}

void Executor::run_single(SingleCall&& call) {
  Taken taken(hints::engine());
  for (int tries = 0; !is_aside(call.object()) && tries < kTries; ++tries) {
    if (!taken.take(call.object(), call.object_bytes)) {
      cpu_relax();
      continue;
    }
    std::vector<std::byte> result(call.result_bytes);
    run_call(call.run, taken.objects(), call.record.data(), call.record.size(), 1, result.data());
    taken.let_go();
    return answer(call, result);
  }
  set_aside(std::move(call));
}

void Executor::answer(SingleCall& call, std::span<const std::byte> result) {
  std::uint64_t word = 0;
  if (call.parcel != 0) {
    write_parcel(node_, call.parcel, result);
  } else if (!result.empty()) {
    std::memcpy(&word, result.data(), std::min(result.size(), sizeof word));
  }
  const SignalsBlocked blocked;
  node_.calls->reply(call.caller, word);
}

// --- what has to wait -----------------------------------------------------------------------------------------------

bool Executor::is_aside(std::uint64_t object) {
  if (granules_aside_.load(std::memory_order_acquire) == 0) [[likely]]
    return false;
  const Locked locked(lock_);
  return aside_.contains(object / kObjectGranule);
}

void Executor::set_aside(SingleCall&& call) {
  const std::uint64_t granule = call.object() / kObjectGranule;
  if (call.source != nullptr) call.source->aside.fetch_add(1);
  bool first = false;
  {
    const Locked locked(lock_);
    std::deque<SingleCall>& line = aside_[granule];
    first = line.empty();
    line.push_back(std::move(call));
    granules_aside_.store(aside_.size(), std::memory_order_release);
  }
  if (first) workers().run([this, granule] { run_aside(granule); });
}

// A call leaves its line only when it has run, so that nothing overtakes it.
void Executor::run_aside(std::uint64_t granule) {
  for (bool more = true; more;) {
    SingleCall* call = nullptr;
    {
      const Locked locked(lock_);
      call = &aside_.at(granule).front();
    }
    hints::Pin& pin = hints::borrow_mut(reinterpret_cast<void*>(call->object()), call->object_bytes, {});
    void* const object = pin.data.load();
    std::vector<std::byte> result(call->result_bytes);
    run_call(call->run, &object, call->record.data(), call->record.size(), 1, result.data());
    std::atomic_ref(call->ran).store(true);  // before its object can be had again: waits_for()
    hints::end_hinted(pin, true);
    Source* const source = call->source;
    SingleCall ended;
    {
      const Locked locked(lock_);
      std::deque<SingleCall>& line = aside_.at(granule);
      ended = std::move(line.front());
      line.pop_front();
      more = !line.empty();
      if (!more) aside_.erase(granule);
      granules_aside_.store(aside_.size(), std::memory_order_release);
    }
    if (source == nullptr) {
      answer(ended, result);
      continue;
    }
    source->aside.fetch_sub(1);
    futex_wake(source->aside, INT32_MAX, FutexScope::kProcess);
    wake();
  }
}

bool Executor::waits_for(const Source& source, std::uint64_t granule) {
  const Locked locked(lock_);
  const auto found = aside_.find(granule);
  if (found == aside_.end()) return false;
  return std::any_of(found->second.begin(), found->second.end(),
                     [&](SingleCall& call) { return call.source == &source && !std::atomic_ref(call.ran).load(); });
}

void Executor::await_none_aside(const Source& source) {
  for (std::uint32_t seen = source.aside.load(); seen != 0; seen = source.aside.load()) {
    futex_wait(source.aside, seen, FutexScope::kProcess);
  }
}

}  // namespace dsm::placed
