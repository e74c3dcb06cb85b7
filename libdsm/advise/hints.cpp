#include "advise/hints.h"

#include <algorithm>
#include <charconv>

namespace dsm::advise {
namespace {

constexpr double kShmRoundTripNs = 300;  // bench_object: the first read of a remote object
constexpr double kShmBytesPerUs = 5000;

}  // namespace

std::string_view name_of(Hint hint) {
  constexpr std::string_view kNames[kHints] = {"none",      "borrow_mut", "borrow_shared", "prefetch", "transfer",
                                               "placement", "own_ptr",    "group",         "guarded"};
  return kNames[static_cast<std::size_t>(hint)];
}

std::string_view advice_for(Hint hint) {
  switch (hint) {
    case Hint::kBorrowMut:
      return "change the object through auto object = dsm::borrow_mut(pointer) (C: dsm_borrow_mut, dsm_release)";
    case Hint::kBorrowShared:
      return "read the object through auto object = dsm::borrow_shared(pointer); dsm::borrow_shared_each for many";
    case Hint::kPrefetch:
      return "call dsm::prefetch(begin, bytes) ahead of this, for all that it is about to touch";
    case Hint::kTransfer:
      return "call dsm::transfer(begin, bytes, node) once the data is written, to the node that reads it next";
    case Hint::kPlacement:
      return "allocate it at the node that uses it: dsm::alloc there, or with dsm::on_node(n)";
    case Hint::kOwnPtr:
      return "make the objects with dsm::make_owned and keep dsm::own_ptr to them: each moves to the node that uses it";
    case Hint::kGroup:
      return "make the small objects that are used together in one dsm::make_group: they come in one fetch";
    case Hint::kGuarded:
      return "put what the lock protects into a dsm::guarded with it: one message brings both";
    case Hint::kNone:
      break;
  }
  return "nothing: it costs little, or no hint helps";
}

Network network_of(std::string_view emulate) {
  if (emulate == "rdma") return {2'000, 5'000};
  if (emulate == "tcp") return {25'000, 1'100};
  double latency = 0, bandwidth = 0;
  const std::size_t colon = emulate.find(':');
  if (colon == std::string_view::npos) return {kShmRoundTripNs, kShmBytesPerUs};
  std::from_chars(emulate.data(), emulate.data() + colon, latency);
  std::from_chars(emulate.data() + colon + 1, emulate.data() + emulate.size(), bandwidth);
  return {latency, std::max(bandwidth, 1.0)};
}

Hint hint_for(Pattern pattern, bool disturbed) {
  switch (pattern) {
    case Pattern::kPrivate:
      return Hint::kPlacement;
    case Pattern::kReadMostly:
      return disturbed ? Hint::kBorrowShared : Hint::kPrefetch;
    case Pattern::kStreaming:
      return Hint::kPrefetch;
    case Pattern::kProducerConsumer:
      return disturbed ? Hint::kBorrowMut : Hint::kTransfer;
    case Pattern::kMigratory:
    case Pattern::kWriteShared:
    case Pattern::kFalseSharing:
    case Pattern::kLockProtected:
      return Hint::kBorrowMut;
  }
  return Hint::kNone;
}

Hint more_for(Pattern pattern, bool disturbed, bool small_blocks) {
  switch (pattern) {
    case Pattern::kReadMostly:
      return !disturbed ? Hint::kNone : small_blocks ? Hint::kGroup : Hint::kOwnPtr;
    case Pattern::kMigratory:
    case Pattern::kFalseSharing:
      return Hint::kOwnPtr;
    case Pattern::kProducerConsumer:
      return disturbed ? Hint::kTransfer : Hint::kNone;
    case Pattern::kLockProtected:
      return Hint::kGuarded;
    case Pattern::kPrivate:
    case Pattern::kStreaming:
    case Pattern::kWriteShared:
      break;
  }
  return Hint::kNone;
}

// At the least, since only faults are known: with a borrow each access that faulted is a round trip and moves a granule
// there and back; what is prefetched comes at the network's speed; what is placed does not move.
double cost_with(Hint hint, double faults, double bytes, const Network& network) {
  switch (hint) {
    case Hint::kBorrowMut:
      return faults * (2 * network.round_trip_ns + 128 / network.bytes_per_us * 1000);
    case Hint::kBorrowShared:
      return faults * (network.round_trip_ns + 64 / network.bytes_per_us * 1000);
    case Hint::kPrefetch:
      return bytes / network.bytes_per_us * 1000;
    case Hint::kTransfer:
      return faults * network.round_trip_ns + bytes / network.bytes_per_us * 1000;
    case Hint::kOwnPtr:
    case Hint::kGroup:
    case Hint::kGuarded:
      return faults * network.round_trip_ns;
    case Hint::kPlacement:
    case Hint::kNone:
      break;
  }
  return 0;
}

}  // namespace dsm::advise
