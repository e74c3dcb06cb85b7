// <dsm/spawn.h>: a task's data lies in a parcel, which the other node reads, and writes its result or failure to.
#include <dsm/spawn.h>

#include <atomic>
#include <cstdlib>

#include "base/check.h"
#include "base/log.h"
#include "base/signals.h"
#include "placed/flight.h"
#include "placed/image.h"
#include "placed/parcel.h"
#include "placed/workers.h"
#include "runtime/calls.h"
#include "runtime/node.h"
#include "runtime/start_hooks.h"

namespace dsm {
namespace detail {

class task {
 public:
  task(unsigned to, spawned run, std::size_t arguments, std::size_t bytes)
      : node_(runtime::node()), to_(static_cast<NodeId>(to)), run_(run), arguments_(arguments), bytes_(bytes) {
    if (to_ == node_.self) {
      here_ = std::make_unique<std::byte[]>(bytes);
    } else {
      parcel_.emplace(node_, bytes + sizeof said_);
    }
  }
  std::byte* data() { return to_ == node_.self ? here_.get() : parcel_->data(); }
  NodeId to() const { return to_; }
  const char* failure() const { return failed_ ? said_ : nullptr; }

  void send() {
    if (to_ == node_.self) {
      placed::workers().run([this] {
        failed_ = run_(here_.get(), said_) != nullptr;
        ended_.store(1);
        ended_.notify_all();
      });
      return;
    }
    const std::uint64_t function = placed::offset_of(reinterpret_cast<const void*>(run_));
    flight_ = placed::Flight::begin(node_, to_, runtime::Operation::kSpawn,
                                    {function, parcel_->address(), arguments_ | bytes_ << 32});
  }
  void wait() {
    if (ended_.load() != 0) return;
    if (to_ == node_.self) return ended_.wait(0);
    failed_ = flight_->wait() != 0;
    if (failed_) std::memcpy(said_, parcel_->data() + bytes_, sizeof said_);
    ended_.store(1);
  }

 private:
  runtime::Node& node_;
  const NodeId to_;
  const spawned run_;
  const std::size_t arguments_, bytes_;
  std::unique_ptr<std::byte[]> here_;
  std::optional<placed::Parcel> parcel_;
  std::shared_ptr<placed::Flight> flight_;
  std::atomic<std::uint32_t> ended_{0};
  bool failed_ = false;
  char said_[128]{};
};

task* spawn_task(unsigned node, spawned run, std::size_t argument_bytes, std::size_t bytes) {
  runtime::Node& here = runtime::node();
  if (node >= here.geometry.program_nodes()) {
    log(LogLevel::kError, "placed", "spawn_on node {}: this job has nodes 0 to {}; the program ends", node,
        here.geometry.program_nodes() - 1);
    std::abort();
  }
  placed::check_same_program(here, static_cast<NodeId>(node));
  return std::make_unique<task>(node, run, argument_bytes, (bytes + 7) / 8 * 8).release();
}

std::byte* task_data(task* one) { return one->data(); }
void task_send(task* one) { one->send(); }
void task_wait(task* one) { one->wait(); }
const char* task_failure(const task* one) { return one->failure(); }
void task_end_for(const task* one) {
  log(LogLevel::kError, "placed",
      "a function spawned on node {} has thrown an exception: {}; exceptions do not travel (future::failure() tells "
      "without ending the program); the program ends",
      one->to(), one->failure());
  std::abort();
}
void task_destroy(task* one) {
  one->wait();
  delete one;
}

}  // namespace detail

namespace placed {
namespace {

void run_spawned(runtime::Node& node, runtime::Caller caller, const runtime::Request& request) {
  const auto run = reinterpret_cast<detail::spawned>(reinterpret_cast<std::uintptr_t>(function_at(request.args[0])));
  const std::uint64_t parcel = request.args[1];
  const std::size_t arguments = request.args[2] & 0xffffffff, bytes = request.args[2] >> 32;
  std::vector<std::uint64_t> words(bytes / 8 + 1);
  auto* const data = reinterpret_cast<std::byte*>(words.data());
  read_parcel(node, parcel, {data, arguments});
  char said[128]{};
  const bool failed = run(data, said) != nullptr;
  if (failed) {
    write_parcel(node, parcel + bytes, std::as_bytes(std::span(said)));
  } else if (bytes != 0) {
    write_parcel(node, parcel, {data, bytes});
  }
  const SignalsBlocked blocked;
  node.calls->reply(caller, failed ? 1 : 0);
}

void serve(runtime::Node& node) {
  node.calls->handle(runtime::Operation::kSpawn, [&node](runtime::Caller caller, const runtime::Request& request) {
    workers().run([&node, caller, request] { run_spawned(node, caller, request); });
  });
}

const bool hooked = (runtime::add_start_hook(serve), true);  // before main(), and so before the node starts

}  // namespace
}  // namespace placed
}  // namespace dsm
