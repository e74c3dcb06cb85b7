#include "sync/objects.h"

#include <algorithm>

namespace dsm::sync {

void Barrier::arrive(Caller caller, std::uint64_t parties, Answers& answers) {
  if (parties == 0 || (!here_.empty() && parties != parties_)) return answers.push_back({caller, kBadArgument});
  parties_ = parties;
  here_.push_back(caller);
  if (here_.size() < parties_) return;
  for (const Caller arrived : here_) answers.push_back({arrived, kYes});
  here_.clear();
}

void Semaphore::acquire(Caller caller, Answers& answers) {
  if (count_ == 0) return waiting_.push_back(caller);
  --count_;
  answers.push_back({caller, kYes});
}

void Semaphore::try_acquire(Caller caller, Answers& answers) {
  if (count_ == 0) return answers.push_back({caller, kNo});
  acquire(caller, answers);
}

void Semaphore::release(Caller caller, std::uint64_t count, Answers& answers) {
  if (count > kMostCount - count_) return answers.push_back({caller, kBadArgument});
  count_ += count;
  for (; count_ != 0 && !waiting_.empty(); waiting_.pop_front()) acquire(waiting_.front(), answers);
  answers.push_back({caller, kYes});
}

void Condition::cancel(Caller caller, std::uint32_t call, Answers& answers) {
  const auto same = [&](Caller waiting) { return waiting.node == caller.node && waiting.call == call; };
  const auto found = std::find_if(waiting_.begin(), waiting_.end(), same);
  if (found != waiting_.end()) {
    answers.push_back({*found, kNo});
    waiting_.erase(found);
  }
  answers.push_back({caller, kYes});
}

void Condition::notify(Caller caller, std::uint64_t most, Answers& answers) {
  for (; most != 0 && !waiting_.empty(); --most) {
    answers.push_back({waiting_.front(), kYes});
    waiting_.pop_front();
  }
  answers.push_back({caller, kYes});
}

void Once::begin(Caller caller, Answers& answers) {
  if (state_ == State::kRunning) return waiting_.push_back(caller);
  answers.push_back({caller, state_ == State::kNew ? kYes : kNo});
  if (state_ == State::kDone) return;
  state_ = State::kRunning;
  runner_ = caller.node;
}

void Once::end(Caller caller, Answers& answers) {
  if (state_ != State::kRunning || runner_ != caller.node) return answers.push_back({caller, kBadArgument});
  state_ = State::kDone;
  for (const Caller waiting : waiting_) answers.push_back({waiting, kNo});
  waiting_.clear();
  answers.push_back({caller, kYes});
}

}  // namespace dsm::sync
