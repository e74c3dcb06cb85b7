#include "runtime/object_queues.h"

#include "base/check.h"
#include "base/meta_layout.h"
#include "runtime/lost.h"
#include "runtime/node.h"
#include "runtime/wire.h"

namespace dsm::runtime {

using proto::QueueEventKind;

// Who waits, waits for the header, which objects of one granule share: small ones that were not made for borrows.
void ObjectQueues::ask(std::uint64_t address, proto::Turn turn, Caller caller) {
  Line& line = lines_[granule_of(address)];
  line.turns.push_back(turn);
  line.callers.push_back(caller);
  run(address, line, QueueEventKind::kAsked);
}

void ObjectQueues::freed(std::uint64_t address) { run(address, lines_[granule_of(address)], QueueEventKind::kFreed); }

// Ends with nothing in flight. The line is gone when nobody waits.
void ObjectQueues::run(std::uint64_t address, Line& line, QueueEventKind kind) {
  const std::uint64_t offset = header_offset(node_.geometry, address);
  for (proto::QueueEvent event{kind};;) {
    const proto::QueueActions todo = step(line.queue, line.turns, event);
    if (todo.read || todo.swap) {
      proto::Header word = 0;
      net::Op op = todo.read ? net::read_op(net::Region::kMeta, offset, &word, sizeof word)
                             : net::cas_op(net::Region::kMeta, offset, todo.expected, todo.desired);
      execute_or_end(node_, node_.self, {&op, 1});
      event = {QueueEventKind::kDone, todo.read ? word : op.old};
      continue;
    }
    if (todo.grant) {
      node_.calls->reply(line.callers[todo.index], todo.word);
      line.turns.erase(line.turns.begin() + todo.index);
      line.callers.erase(line.callers.begin() + todo.index);
      event = {QueueEventKind::kNext};
      continue;
    }
    if (todo.recall != kNoNode) {
      const ObjectMessage message{ObjectMessageKind::kRecall, address};
      count(node_.stats->object_recall);
      send_message(node_, todo.recall, pack(MessageType::kObject, message).bytes(), net::Waiter::kService);
    }
    if (todo.idle) lines_.erase(granule_of(address));
    return;
  }
}

}  // namespace dsm::runtime
