#include "net/verbs_posting.h"

#include <algorithm>
#include <cstring>

namespace dsm::net::verbs {
namespace {

constexpr std::uint32_t kLineBytes = 64;

}  // namespace

Result<void> Posting::add(Op& op) {
  if (is_atomic(op)) return add_atomic(op);
  auto* local = static_cast<std::byte*>(op.local);
  if (node_ == t_.self_ && local == t_.local_region(op.region) + op.offset) return {};  // is there already
  for (std::uint64_t at = op.offset, end = at + op.bytes; at < end;) {
    const Unit unit = t_.units_.at(op.region, at);
    const Local part = find(op, local, static_cast<std::uint32_t>(std::min(end, unit.end) - at));
    if (auto room = make_room(part.direct ? 0 : part.bytes); !room) {
      if (part.lent) t_.lent_.done(part.place);
      return room;
    }
    put(op, at, unit, part);
    local += part.bytes;
    at += part.bytes;
  }
  return {};
}

void Posting::end() {
  if (volley_->requests != 0) t_.fire(lane_, node_, *volley_);
}

// Where the card finds the bytes, or a part of them that fits a buffer.
Posting::Local Posting::find(const Op& op, std::byte* local, std::uint32_t bytes) {
  Local found{.at = local, .bytes = bytes};
  found.inlined = op.kind == OpKind::kWrite && bytes <= lane_.inline_bytes;
  found.direct = found.inlined || exposed(local, bytes, found.lkey);
  if (found.direct) return found;
  const LentMemory::Use use = t_.lent_.use(local, bytes);
  if (use.work) t_.ring_attendant();
  if (use.found) {
    found.direct = found.lent = true;
    found.lkey = use.lkey;
    found.place = use.place;
  } else {
    found.bytes = std::min(bytes, kVolleyBytes);
  }
  return found;
}

bool Posting::exposed(const std::byte* local, std::uint32_t bytes, std::uint32_t& lkey) const {
  const std::byte* const base = t_.local_region(Region::kMemory);
  if (local < base || local >= base + t_.sizes_[0]) return false;
  const auto offset = static_cast<std::uint64_t>(local - base);
  const Unit unit = t_.units_.at(Region::kMemory, offset);
  return offset + bytes <= unit.end && t_.own_->local_key(unit.index, lkey);
}

Result<void> Posting::make_room(std::uint32_t bytes) {
  if (volley_->requests < kVolleyDepth && volley_->filled + bytes <= kVolleyBytes) return {};
  t_.fire(lane_, node_, *volley_);
  volley_ = &lane_.volleys[volley_ == lane_.volleys.data() ? 1 : 0];
  return t_.complete(lane_, node_, *volley_);
}

std::uint32_t Posting::take_buffer(std::uint32_t bytes) {
  const std::uint32_t at = volley_->filled;
  volley_->filled = (at + bytes + kLineBytes - 1) & ~(kLineBytes - 1);
  return at;
}

ibv_send_wr& Posting::next(ibv_wr_opcode opcode, const void* local, std::uint32_t bytes, std::uint32_t lkey) {
  ibv_sge& piece = volley_->piece[volley_->requests];
  ibv_send_wr& request = volley_->request[volley_->requests++];
  piece = {reinterpret_cast<std::uint64_t>(local), bytes, lkey};
  request = {};
  request.opcode = opcode;
  request.sg_list = &piece;
  request.num_sge = 1;
  const bool reads = opcode == IBV_WR_RDMA_READ;
  const bool writes = opcode == IBV_WR_RDMA_WRITE;
  if ((!reads && read_before_) || (writes && atomic_before_)) {
    request.send_flags = IBV_SEND_FENCE;
    read_before_ = atomic_before_ = false;
  }
  read_before_ |= reads;
  atomic_before_ |= !reads && !writes;
  return request;
}

void Posting::put(const Op& op, std::uint64_t at, const Unit& unit, Local local) {
  const bool reads = op.kind == OpKind::kRead;
  if (!local.direct) {
    const std::uint32_t place = take_buffer(local.bytes);
    std::byte* const buffer = volley_->buffer + place;
    if (reads) {
      volley_->landing[volley_->landings++] = {const_cast<std::byte*>(local.at), place, local.bytes};
    } else {
      std::memcpy(buffer, local.at, local.bytes);
    }
    local.at = buffer;
    local.lkey = lane_.buffer.lkey();
  }
  if (local.lent) volley_->lent_place[volley_->lent++] = local.place;
  ibv_send_wr& request = next(reads ? IBV_WR_RDMA_READ : IBV_WR_RDMA_WRITE, local.at, local.bytes, local.lkey);
  if (local.inlined) request.send_flags |= IBV_SEND_INLINE;
  request.wr.rdma.remote_addr = remote_address(op.region, at);
  request.wr.rdma.rkey = rkey(unit);
}

Result<void> Posting::add_atomic(Op& op) {
  if (auto room = make_room(sizeof op.old); !room) return room;
  const std::uint32_t place = take_buffer(sizeof op.old);
  volley_->landing[volley_->landings++] = {&op.old, place, sizeof op.old};
  const bool swaps = op.kind == OpKind::kCompareAndSwap;
  ibv_send_wr& request = next(swaps ? IBV_WR_ATOMIC_CMP_AND_SWP : IBV_WR_ATOMIC_FETCH_AND_ADD, volley_->buffer + place,
                              sizeof op.old, lane_.buffer.lkey());
  request.wr.atomic.remote_addr = remote_address(op.region, op.offset);
  request.wr.atomic.rkey = rkey(t_.units_.at(op.region, op.offset));
  request.wr.atomic.compare_add = swaps ? op.expected : op.operand;
  request.wr.atomic.swap = op.operand;
  return {};
}

std::uint32_t Posting::rkey(const Unit& unit) const {
  return unpack_key(t_.known_[node_][unit.index].load(std::memory_order_relaxed)).rkey;
}

std::uint64_t Posting::remote_address(Region region, std::uint64_t offset) const {
  const Hello& peer = t_.peers_[node_];
  return (region == Region::kMemory ? peer.memory_base : peer.meta_base) + offset;
}

}  // namespace dsm::net::verbs
