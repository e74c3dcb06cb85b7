// What is not a lock: each operation is a request to the object's home (server.h), which answers when the thread may
// go on.
#include "base/stats.h"
#include "runtime/node.h"
#include "sync/handle.h"
#include "sync/objects.h"
#include "sync/server.h"

namespace dsm {
namespace {

using runtime::Call;
using runtime::Operation;

constexpr const char* kCondition = "dsm::condition_variable";
constexpr const char* kBarrier = "dsm::barrier";
constexpr const char* kSemaphore = "dsm::counting_semaphore";
constexpr const char* kOnce = "dsm::once_flag";

// Waits for a notification, at the most `timeout` (null: for ever); true if it came. The thread is registered before it
// unlocks, so a notification by whoever locks next finds it.
bool wait_on(const detail::slot& slot, std::unique_lock<mutex>& lock, const std::chrono::nanoseconds* timeout) {
  if (!lock.owns_lock()) sync::misuse(kCondition, &slot, "wait with a lock that does not hold its mutex");
  runtime::Node& node = runtime::node();
  const PageId page = sync::page_of(slot, kCondition);
  const NodeId home = node.geometry.home(page);
  Call call(node, home, Operation::kWaitOn, {page, 0, 0});
  call.wait_acknowledged();
  lock.unlock();
  if (timeout != nullptr && !call.wait_for(timeout->count())) {
    sync::ask(slot, kCondition, Operation::kCancelWait, call.id());
  }
  const bool notified = sync::checked(call.wait(), slot, kCondition) == sync::kYes;
  lock.lock();
  return notified;
}

}  // namespace

void condition_variable::notify_one() { sync::ask(slot_, kCondition, Operation::kNotify, 1); }
void condition_variable::notify_all() { sync::ask(slot_, kCondition, Operation::kNotify, ~std::uint64_t{0}); }
void condition_variable::wait(std::unique_lock<mutex>& lock) { wait_on(slot_, lock, nullptr); }
bool condition_variable::wait_for(std::unique_lock<mutex>& lock, std::chrono::nanoseconds timeout) {
  return wait_on(slot_, lock, &timeout);
}

barrier::barrier(std::size_t parties) : parties_(parties) {
  if (parties == 0) sync::misuse(kBarrier, this, "a barrier for no threads");
}

void barrier::arrive_and_wait() {
  sync::ask(slot_, kBarrier, Operation::kBarrier, parties_);
  count(runtime::node().stats->barrier);
}

counting_semaphore::counting_semaphore(std::ptrdiff_t initial) {
  if (initial < 0) sync::misuse(kSemaphore, this, "a negative initial count");
  if (initial > 0) release(initial);
}

void counting_semaphore::acquire() {
  sync::ask(slot_, kSemaphore, Operation::kSemaphore, static_cast<std::uint64_t>(sync::SemaphoreAct::kAcquire));
}

bool counting_semaphore::try_acquire() {
  const auto act = static_cast<std::uint64_t>(sync::SemaphoreAct::kTryAcquire);
  return sync::ask(slot_, kSemaphore, Operation::kSemaphore, act) == sync::kYes;
}

void counting_semaphore::release(std::ptrdiff_t count) {
  if (count < 0) sync::misuse(kSemaphore, this, "release() with a negative count");
  sync::ask(slot_, kSemaphore, Operation::kSemaphore, static_cast<std::uint64_t>(sync::SemaphoreAct::kRelease),
            static_cast<std::uint64_t>(count));
}

// Another thread may mark it as done at any moment after the first look at the mark.
bool once_flag::begin() {
  if (sync::is_done(slot_, kOnce)) return false;
  const auto act = static_cast<std::uint64_t>(sync::OnceAct::kBegin);
  return sync::ask_checked(slot_, kOnce, Operation::kOnce, act, 0) == sync::kYes;
}

// The home is told first: who asks it before the mark is seen must not wait for ever.
void once_flag::end() {
  sync::ask(slot_, kOnce, Operation::kOnce, static_cast<std::uint64_t>(sync::OnceAct::kEnd));
  sync::set_done(slot_);
}

}  // namespace dsm
