#include "placed/flight.h"

#include <chrono>
#include <thread>
#include <vector>

namespace dsm::placed {
namespace {

constexpr std::int64_t kSliceNs = 200'000;

// Those that were begun, in that order; some have landed.
class Flights {
 public:
  // With a place in it.
  std::shared_ptr<Flight> make() {
    std::unique_lock lock(mutex_);
    while (all_.size() >= kMostFlights && !forget_landed()) {
      const std::shared_ptr<Flight> first = all_.front();
      lock.unlock();
      first->has_landed(kSliceNs);
      lock.lock();
    }
    return all_.emplace_back(std::make_shared<Flight>());
  }

 private:
  bool forget_landed() {
    return std::erase_if(all_, [](const std::shared_ptr<Flight>& flight) { return flight->has_landed(0); }) != 0;
  }

  std::mutex mutex_;
  std::vector<std::shared_ptr<Flight>> all_;
};

Flights& flights() {
  static Flights& made = *new Flights;  // threads may still spawn when the program's statics are destroyed
  return made;
}

}  // namespace

std::shared_ptr<Flight> Flight::begin(runtime::Node& node, NodeId to, runtime::Operation operation,
                                      const std::array<std::uint64_t, 3>& args) {
  std::shared_ptr<Flight> flight = flights().make();
  const std::lock_guard lock(flight->mutex_);
  flight->call_.emplace(node, to, operation, args);
  return flight;
}

void Flight::take_answer() {
  answer_ = call_->wait();
  call_.reset();
  landed_.store(true);
}

std::uint64_t Flight::wait() {
  if (!landed_.load()) {
    const std::lock_guard lock(mutex_);
    if (call_) take_answer();
  }
  return answer_;
}

bool Flight::has_landed(std::int64_t timeout_ns) {
  if (landed_.load()) return true;
  const std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock.owns_lock()) {  // another thread waits for the answer
    std::this_thread::sleep_for(std::chrono::nanoseconds(timeout_ns));
    return landed_.load();
  }
  if (call_ && call_->wait_for(timeout_ns)) take_answer();
  return landed_.load();
}

}  // namespace dsm::placed
