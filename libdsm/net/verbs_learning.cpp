// The keys of other nodes' memory: read out of the home's table when they are first needed, or asked for.
#include <arpa/inet.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/futex.h"
#include "net/verbs_impl.h"

namespace dsm::net::verbs {
Result<void> VerbsTransport::learn_keys(Lane& lane, NodeId node, std::span<const Op> chain) {
  for (const Op& op : chain) {
    const std::uint64_t bytes = is_atomic(op) ? 8 : op.bytes;
    for (std::uint64_t at = op.offset, end = at + bytes; at < end;) {
      const Unit unit = units_.at(op.region, at);
      if (known_[node][unit.index].load(std::memory_order_relaxed) == 0) [[unlikely]] {
        if (auto learnt = learn_key(lane, node, unit); !learnt) return learnt;
      }
      at = unit.end;
    }
  }
  return {};
}

// Reads the home's table; if nothing is there yet, asks for it and reads until it is. Each READ shows whether the
// home's machine is alive.
Result<void> VerbsTransport::learn_key(Lane& lane, NodeId node, const Unit& unit) {
  constexpr std::int64_t kMostNs = 1'000'000;
  std::atomic<std::uint32_t> never{0};
  for (std::int64_t pause_ns = 0;; pause_ns = std::min(2 * pause_ns + 10'000, kMostNs)) {
    if (pause_ns != 0) futex_wait(never, 0, FutexScope::kProcess, pause_ns);
    Key key{};
    if (auto read = read_entry(lane, node, unit, key); !read) return read;
    if (key.state == KeyState::kRegistered) {
      known_[node][unit.index].store(pack(key), std::memory_order_relaxed);
      return {};
    }
    if (key.state == KeyState::kFailed) {
      return fail(Errc::kNoMemory, "the node could not register memory for RDMA; its log says why (ulimit -l?)");
    }
    if (pause_ns != 0) continue;
    if (auto asked = ask(lane, node, unit); !asked) return asked;
  }
}

Result<void> VerbsTransport::read_entry(Lane& lane, NodeId node, const Unit& unit, Key& key) {
  if (node == self_) {
    key = own_->key(unit.index);
    return {};
  }
  ibv_send_wr request{};
  request.opcode = IBV_WR_RDMA_READ;
  request.wr.rdma.remote_addr = peers_[node].table + unit.index * sizeof(std::uint64_t);
  request.wr.rdma.rkey = peers_[node].table_key;
  if (auto done = run_one(lane, node, request, sizeof(std::uint64_t)); !done) return done;
  std::uint64_t word = 0;
  std::memcpy(&word, lane.volleys[0].buffer, sizeof word);
  key = unpack_key(word);
  return {};
}

Result<void> VerbsTransport::ask(Lane& lane, NodeId node, const Unit& unit) {
  std::memcpy(lane.volleys[0].buffer, &unit.index, sizeof unit.index);
  ibv_send_wr request{};
  request.opcode = IBV_WR_SEND_WITH_IMM;
  request.imm_data = htonl(pack(MailWord{MailKind::kRegister, self_, 0}));
  return run_one(lane, node, request, sizeof unit.index);
}

// With the first bytes of a free volley's buffer.
Result<void> VerbsTransport::run_one(Lane& lane, NodeId node, const ibv_send_wr& request, std::uint32_t bytes) {
  Volley& volley = lane.volleys[0];
  volley.piece[0] = {reinterpret_cast<std::uint64_t>(volley.buffer), bytes, lane.buffer.lkey()};
  volley.request[0] = request;
  volley.request[0].sg_list = volley.piece.data();
  volley.request[0].num_sge = 1;
  volley.requests = 1;
  fire(lane, node, volley);
  return complete(lane, node, volley);
}

}  // namespace dsm::net::verbs
