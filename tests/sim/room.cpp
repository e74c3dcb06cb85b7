// Local memory that is bounded: a page comes in only if there is room, and one that the policy names goes out for it.
#include "tests/sim/room.h"

#include "tests/sim/simulator.h"

namespace dsm::sim {

void Simulator::make_rooms() {
  for (unsigned i = 0; i < model_.options.nodes && model_.options.room != 0; ++i) {
    rooms_.push_back(std::make_unique<Room>(model_.options.pages, model_.options.room));
  }
}

// The node's room if it is bounded and this page takes some of it.
Room* Simulator::room_for(NodeId node, unsigned page) {
  const Home& home = model_.homes[page];
  return rooms_.empty() || home.node == node || !home.has_bytes ? nullptr : rooms_[node].get();
}

// Who has to wait until a page has gone.
bool Simulator::lacks_room(NodeId node, unsigned page) {
  const Room* const room = room_for(node, page);
  return room != nullptr && !room->is_here(page) && room->here >= room->bound;
}

// The page's bytes have come, or will at once.
void Simulator::filled(NodeId node, unsigned page) {
  Room* const room = room_for(node, page);
  if (room == nullptr || room->is_here(page)) return;
  room->frames[page].here = true;
  ++room->here;
  room->policy.enter_in_place_of_lost(page);
  refresh_room(node);
}

// A page that was laid to rest is used.
void Simulator::came_back(NodeId node, unsigned page) {
  Room* const room = room_for(node, page);
  if (room != nullptr && room->frames[page].resting.exchange(false)) room->frames[page].back = true;
}

void Simulator::put_out(NodeId node) {
  Room& room = *rooms_[node];
  PageId rests = 0, soon = 0, victim = 0;
  if (room.policy.next_rest(rests)) room.frames[rests].resting = true;
  if (room.policy.next_clean(soon)) clean(node, static_cast<unsigned>(soon));
  if (!room.policy.next_victim(victim)) return refresh_room(node);
  const auto page = static_cast<unsigned>(victim);
  Copy& copy = model_.copy(node, page);
  if (copy.executing() || copy.in_flight || copy.done_due) {
    if (room.is_here(page)) room.policy.enter(page);  // it is being worked on, and gets another turn
    return scheduler_.set(room_actor(node), false);
  }
  trace("node {} puts page {} out ({} of {} here)", node, page, room.here, room.bound);
  copy.leaving = true;
  if (mutated(Mutation::kCutEarly)) copy.bytes = {Half(~0ull), Half(~0ull)};
  if (copy.page.access != Access::kObject) return step(node, page, {.kind = proto::EventKind::kRelease});
  settle_leaving(node, page);
}

void Simulator::clean(NodeId node, unsigned page) {
  const Copy& copy = model_.copy(node, page);
  if (copy.executing() || copy.in_flight || copy.done_due || !rooms_[node]->frames[page].resting) return;
  step(node, page, {.kind = proto::EventKind::kClean});
}

// Once nothing of its release is under way: its bytes go, unless somebody needs them again.
void Simulator::settle_leaving(NodeId node, unsigned page) {
  Copy& copy = model_.copy(node, page);
  if (!copy.leaving || copy.executing() || copy.in_flight || copy.done_due) return;
  copy.leaving = false;
  Room& room = *rooms_[node];
  const bool unused = copy.page.access == Access::kNone || copy.page.access == Access::kObject;
  const bool at_rest = copy.page.phase == proto::Phase::kIdle && copy.page.want == Access::kNone;
  if ((unused && at_rest) || mutated(Mutation::kCutAnyway)) {
    copy.page.fetched = copy.dead = false;
    copy.bytes = {Half(~0ull), Half(~0ull)};
    if (room.is_here(page)) --room.here;
    room.frames[page].here = room.frames[page].resting = false;
    trace("node {} has cut page {} out", node, page);
    const unsigned first = node * model_.options.threads;
    for (unsigned index = first; index < first + model_.options.threads; ++index) refresh_thread(index);
  } else if (room.is_here(page)) {
    room.policy.enter(page);
  }
  refresh_room(node);
}

// One page is put out ahead of need.
void Simulator::refresh_room(NodeId node) {
  const Room& room = *rooms_[node];
  scheduler_.set(room_actor(node), room.here >= room.bound && room.policy.size() != 0);
}

// Nothing is under way and nobody wants anything.
void Simulator::check_rooms() const {
  for (const auto& room : rooms_) {
    if (room->here < room->bound) continue;
    throw Failure{Check::kRoom,
                  fmt::format("at rest {} pages of others are on a node with room for {}", room->here, room->bound)};
  }
}

}  // namespace dsm::sim
