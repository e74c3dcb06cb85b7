#include "sync/objects.h"

namespace dsm::sync {

void Barrier::arrive(Desk& desk, Caller caller, std::uint64_t parties) {
  if (parties == 0 || (!here_.empty() && parties != parties_)) return desk.answer(caller, kBadArgument);
  parties_ = parties;
  here_.push(desk.pool, caller);
  if (here_.size() < parties_) return;
  while (!here_.empty()) desk.answer(here_.pop(desk.pool), kYes);
}

void Semaphore::acquire(Desk& desk, Caller caller) {
  if (count_ == 0) return waiting_.push(desk.pool, caller);
  --count_;
  desk.answer(caller, kYes);
}

void Semaphore::try_acquire(Desk& desk, Caller caller) {
  if (count_ == 0) return desk.answer(caller, kNo);
  acquire(desk, caller);
}

void Semaphore::release(Desk& desk, Caller caller, std::uint64_t count) {
  if (count > kMostCount - count_) return desk.answer(caller, kBadArgument);
  count_ += count;
  while (count_ != 0 && !waiting_.empty()) acquire(desk, waiting_.pop(desk.pool));
  desk.answer(caller, kYes);
}

void Condition::cancel(Desk& desk, Caller caller, std::uint32_t call) {
  const Caller waiting{caller.node, call};
  if (waiting_.remove(desk.pool, waiting)) desk.answer(waiting, kNo);
  desk.answer(caller, kYes);
}

void Condition::notify(Desk& desk, Caller caller, std::uint64_t most) {
  for (; most != 0 && !waiting_.empty(); --most) desk.answer(waiting_.pop(desk.pool), kYes);
  desk.answer(caller, kYes);
}

void Once::begin(Desk& desk, Caller caller) {
  if (state_ == State::kRunning) return waiting_.push(desk.pool, caller);
  const bool is_first = state_ == State::kNew;
  if (is_first) {
    state_ = State::kRunning;
    runner_ = caller.node;
  }
  desk.answer(caller, is_first ? kYes : kNo);
}

void Once::end(Desk& desk, Caller caller) {
  if (state_ != State::kRunning || runner_ != caller.node) return desk.answer(caller, kBadArgument);
  state_ = State::kDone;
  while (!waiting_.empty()) desk.answer(waiting_.pop(desk.pool), kNo);
  desk.answer(caller, kYes);
}

}  // namespace dsm::sync
