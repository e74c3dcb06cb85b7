// <dsm/channel.h> and its server: the channels homed at this node, on its service thread alone. A value comes as the
// request's text or in the sender's parcel, and goes into the receiver's.
#include <dsm/channel.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/log.h"
#include "placed/parcel.h"
#include "runtime/calls.h"
#include "runtime/node.h"
#include "runtime/start_hooks.h"

namespace dsm {
namespace placed {
namespace {

using runtime::Caller;
using runtime::Operation;
using runtime::Request;

enum Answer : std::uint64_t { kDone = 1, kClosed, kEmpty, kNoChannel, kBusy };
enum Wish : std::uint64_t { kTake, kTryTake };
enum Change : std::uint64_t { kClose, kDestroy };

// Where a caller of this node keeps its bytes is the address itself.
bool is_local(const runtime::Node& node, Caller caller) { return caller.node == node.self; }

using Value = std::vector<std::byte>;

struct Waiting {
  Caller caller;
  std::uint64_t place;  // of a receiver: where the value goes
  Value value;          // of a sender
};

struct Channel {
  std::size_t capacity;
  bool closed = false;
  std::deque<Value> values;
  std::deque<Waiting> senders, receivers;  // one of them is empty
};

class Channels {
 public:
  explicit Channels(runtime::Node& node) : node_(node) {
    serve(Operation::kChannelSend, &Channels::send);
    serve(Operation::kChannelReceive, &Channels::receive);
    serve(Operation::kChannelClose, &Channels::change);
  }

 private:
  using Act = void (Channels::*)(Channel&, Caller, const Request&);

  void serve(Operation operation, Act act) {
    node_.calls->handle(operation, [this, act](Caller caller, const Request& request) {
      const std::uint64_t number = request.args[0] & 0xffffffff;
      if (number == 0) return reply(caller, make(request.args[1]));
      const auto found = channels_.find(number);
      if (found == channels_.end()) return reply(caller, kNoChannel);
      (this->*act)(found->second, caller, request);
    });
  }
  void reply(Caller caller, std::uint64_t answer) { node_.calls->reply(caller, answer); }

  std::uint64_t make(std::size_t capacity) {
    channels_.emplace(
        ++last_, Channel{.capacity = std::max<std::size_t>(capacity, 1), .values = {}, .senders = {}, .receivers = {}});
    return last_;
  }

  void give(Caller caller, std::uint64_t place, const Value& value) {
    if (is_local(node_, caller)) {
      std::memcpy(reinterpret_cast<void*>(place), value.data(), value.size());
    } else {
      write_parcel(node_, place, value);
    }
    reply(caller, kDone);
  }

  void send(Channel& channel, Caller caller, const Request& request) {
    if (channel.closed) return reply(caller, kClosed);
    Value value(request.args[2]);
    if (request.args[1] == 0) {
      std::memcpy(value.data(), request.text, std::min<std::size_t>(value.size(), request.text_bytes));
    } else if (is_local(node_, caller)) {
      std::memcpy(value.data(), reinterpret_cast<const void*>(request.args[1]), value.size());
    } else {
      read_parcel(node_, request.args[1], value);
    }
    if (!channel.receivers.empty()) {
      give(channel.receivers.front().caller, channel.receivers.front().place, value);
      channel.receivers.pop_front();
      return reply(caller, kDone);
    }
    if (channel.values.size() == channel.capacity) {
      channel.senders.push_back({caller, 0, std::move(value)});
      return;
    }
    channel.values.push_back(std::move(value));
    reply(caller, kDone);
  }

  void receive(Channel& channel, Caller caller, const Request& request) {
    if (channel.values.empty()) {
      if (channel.closed) return reply(caller, kClosed);
      if (request.args[2] == kTryTake) return reply(caller, kEmpty);
      channel.receivers.push_back({caller, request.args[1], {}});
      return;
    }
    give(caller, request.args[1], channel.values.front());
    channel.values.pop_front();
    if (channel.senders.empty()) return;
    channel.values.push_back(std::move(channel.senders.front().value));
    reply(channel.senders.front().caller, kDone);
    channel.senders.pop_front();
  }

  void change(Channel& channel, Caller caller, const Request& request) {
    if (request.args[1] == kDestroy) {
      if (!channel.senders.empty() || !channel.receivers.empty()) return reply(caller, kBusy);
      channels_.erase(request.args[0] & 0xffffffff);
      return reply(caller, kDone);
    }
    channel.closed = true;
    for (const Waiting& one : channel.senders) reply(one.caller, kClosed);
    for (const Waiting& one : channel.receivers) reply(one.caller, kClosed);
    channel.senders.clear();
    channel.receivers.clear();
    reply(caller, kDone);
  }

  runtime::Node& node_;
  std::uint64_t last_ = 0;
  std::unordered_map<std::uint64_t, Channel> channels_;
};

void start(runtime::Node& node) { (void)std::make_unique<Channels>(node).release(); }
const bool hooked = (runtime::add_start_hook(start), true);  // before main(), and so before the node starts

[[noreturn]] void misuse(const void* channel, const char* what) {
  log(LogLevel::kError, "placed", "dsm::channel at {}: {}; the program ends", channel, what);
  std::abort();
}

// A channel's number says at its address, too, where it was made: a copy has none.
std::uint64_t number_of(const detail::channel_place& place) {
  const std::uint64_t here = reinterpret_cast<std::uint64_t>(&place) & 0xffffffff;
  if (place.number >> 32 != here || (place.number & 0xffffffff) == 0) {
    misuse(&place, "no such channel here: it was never constructed, has been destroyed, copied or overwritten");
  }
  return place.number & 0xffffffff;
}

std::uint64_t ask(const detail::channel_place& place, Operation operation, std::uint64_t where, std::uint64_t what,
                  std::string_view text = {}) {
  const std::uint64_t number = number_of(place);
  const std::uint64_t answer =
      runtime::Call(runtime::node(), static_cast<NodeId>(place.home), operation, {number, where, what}, text).wait();
  if (answer == kNoChannel) misuse(&place, "its home knows no such channel");
  if (answer == kBusy) misuse(&place, "destroyed while threads wait on it");
  return answer;
}

}  // namespace
}  // namespace placed

namespace detail {

using placed::ask;
using runtime::Operation;

channel_place::channel_place(std::size_t value_bytes, std::size_t capacity) : bytes(value_bytes) {
  runtime::Node& node = runtime::node();
  if (!node.geometry.holds(reinterpret_cast<std::uint64_t>(this))) {
    placed::misuse(this, "constructed outside the global heap, where other nodes cannot use it (try dsm::make)");
  }
  home = node.self;
  number = runtime::Call(node, node.self, Operation::kChannelSend, {0, capacity, 0}).wait() |
           reinterpret_cast<std::uint64_t>(this) << 32;
}

channel_place::~channel_place() {
  if (!runtime::node_running()) return;
  ask(*this, Operation::kChannelClose, placed::kDestroy, 0);
  std::atomic_ref(number).store(0);
}

bool channel_send(const channel_place& place, const void* value) {
  runtime::Node& node = runtime::node();
  if (place.bytes <= runtime::Request::kMaxText) {
    const std::string_view text(static_cast<const char*>(value), place.bytes);
    return ask(place, Operation::kChannelSend, 0, place.bytes, text) == placed::kDone;
  }
  if (place.home == node.self) {
    const auto where = reinterpret_cast<std::uint64_t>(value);
    return ask(place, Operation::kChannelSend, where, place.bytes) == placed::kDone;
  }
  const placed::Parcel parcel(node, place.bytes);
  std::memcpy(parcel.data(), value, place.bytes);
  return ask(place, Operation::kChannelSend, parcel.address(), place.bytes) == placed::kDone;
}

bool channel_receive(const channel_place& place, void* value, bool wait) {
  runtime::Node& node = runtime::node();
  const std::uint64_t wish = wait ? placed::kTake : placed::kTryTake;
  if (place.home == node.self) {
    return ask(place, Operation::kChannelReceive, reinterpret_cast<std::uint64_t>(value), wish) == placed::kDone;
  }
  const placed::Parcel parcel(node, place.bytes);
  if (ask(place, Operation::kChannelReceive, parcel.address(), wish) != placed::kDone) return false;
  std::memcpy(value, parcel.data(), place.bytes);
  return true;
}

void channel_close(const channel_place& place) { ask(place, Operation::kChannelClose, placed::kClose, 0); }

}  // namespace detail
}  // namespace dsm
