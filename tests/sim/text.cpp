#include "tests/sim/text.h"

#include <fmt/core.h>

namespace dsm::sim {

using proto::Actions;
using proto::Event;
using proto::EventKind;
using proto::MessageKind;
using proto::Page;
using proto::Phase;
using proto::Place;

std::string set_text(NodeSet set) {
  std::string text;
  for (unsigned node = 0; node < 64; ++node) {
    if (contains(set, static_cast<NodeId>(node))) text += fmt::format("{}{}", text.empty() ? "" : ",", node);
  }
  return "{" + text + "}";
}

std::string word_text(proto::Word word, NodeId home) {
  if (word == proto::kFreeWord) return "free";
  if (proto::is_shared(word)) return "shared " + set_text(proto::set_of(word));
  if (proto::is_object(word)) return "object " + set_text(proto::set_of(word));
  const std::string owner = fmt::format("exclusive {}{}{}{}", proto::owner_of(word, home),
                                        proto::objects_at_work(word) ? " objects-finish" : "",
                                        (word & proto::kOwnerBorrows) != 0 ? " owner-borrows" : "",
                                        (word & proto::kMemberPlain) != 0 ? " member-plain" : "");
  return proto::set_of(word) == 0 ? owner : owner + " " + set_text(proto::set_of(word));
}

std::string header_text(proto::Header word) {
  constexpr const char* kHolds[] = {"free", "locked by", "standing at", "held by"};
  std::string text =
      fmt::format("version {}, {}", proto::version_of(word), kHolds[static_cast<unsigned>(proto::hold_of(word))]);
  if (!proto::is_free(word)) text += fmt::format(" {}", proto::holder_of(word));
  if (proto::is_writing(word)) text += ", writing";
  if (proto::readers_of(word) != 0) text += fmt::format(", {} readers", proto::readers_of(word));
  if (proto::is_asked(word)) text += ", asked";
  return text;
}

const char* access_text(Access access) {
  switch (access) {
    case Access::kNone:
      return "no";
    case Access::kRead:
      return "read";
    case Access::kWrite:
      return "write";
    case Access::kObject:
      return "object";
  }
  return "?";
}

const char* phase_text(Phase phase) {
  switch (phase) {
    case Phase::kIdle:
      return "idle";
    case Phase::kClaiming:
      return "claiming";
    case Phase::kEnlisting:
      return "enlisting";
    case Phase::kWaiting:
      return "waiting";
    case Phase::kLooking:
      return "looking";
    case Phase::kYielding:
      return "yielding";
    case Phase::kDropping:
      return "dropping";
  }
  return "?";
}

const char* kind_text(MessageKind kind) {
  switch (kind) {
    case MessageKind::kNudge:
      return "nudge";
    case MessageKind::kDrop:
      return "drop";
    case MessageKind::kLook:
      return "look";
  }
  return "?";
}

std::string page_text(const Page& page, Place place) {
  std::string text = fmt::format("{}, {} access, seen {}", phase_text(page.phase), access_text(page.access),
                                 word_text(page.seen, place.home));
  if (page.want != Access::kNone)
    text += fmt::format(", wants {}{}", page.soft ? "softly " : page.ahead ? "ahead " : "", access_text(page.want));
  if (page.fresh) text += ", fresh";
  if (page.look_asked) text += ", look asked";
  if (page.enlisted) text += ", enlisted";
  if (page.fetched) text += ", fetched";
  if (page.keeps) text += ", keeps";
  if (page.migratory) text += ", migratory";
  if (page.readers != 0) text += ", readers " + set_text(page.readers);
  if (page.borrowers != 0) text += ", borrowers " + set_text(page.borrowers);
  return text;
}

std::string event_text(const Event& event, Place place) {
  switch (event.kind) {
    case EventKind::kFault:
      return fmt::format("fault for {}", access_text(event.access));
    case EventKind::kPrefetch:
      return fmt::format("prefetch for {}", access_text(event.access));
    case EventKind::kAhead:
      return fmt::format("ahead for {}", access_text(event.access));
    case EventKind::kFresh:
      return "fresh";
    case EventKind::kRelease:
      return "release";
    case EventKind::kTransfer:
      return fmt::format("transfer to {}", event.node);
    case EventKind::kClean:
      return "clean";
    case EventKind::kUsed:
      return event.keeps ? "used, and kept" : "used";
    case EventKind::kMessage:
      return fmt::format("{} from {} (wants {}, readers {})", kind_text(event.message.kind), event.node,
                         access_text(event.message.want), set_text(event.message.readers));
    case EventKind::kDone:
      return fmt::format("done: old {}, latch {} waiters {}", word_text(event.old, place.home),
                         word_text(event.latch.word, place.home), set_text(event.latch.waiters));
  }
  return "?";
}

std::string actions_text(const Actions& actions, Place place) {
  std::string text;
  const auto add = [&text](const std::string& part) { text += (text.empty() ? "" : ", ") + part; };
  if (actions.unmap) add("unmap");
  if (actions.lower) add("lower");
  if (actions.write_page) add("write page");
  if (actions.waiters_add >> 63 != 0) add("waiters - " + set_text(~actions.waiters_add + 1));
  if (actions.waiters_add >> 63 == 0 && actions.waiters_add != 0) add("waiters + " + set_text(actions.waiters_add));
  if (actions.swap) {
    add(fmt::format("swap {} -> {}", word_text(actions.expected, place.home), word_text(actions.desired, place.home)));
  }
  if (actions.read_latch) add("read latch");
  if (actions.read_page) add("read page");
  if (actions.has_chain() && !actions.expects_done) add("(forget)");
  if (actions.map != Access::kNone) add(fmt::format("map {}", access_text(actions.map)));
  if (actions.raise) add("raise");
  if (actions.reopen) add("reopen");
  if (actions.send_to != 0) add(fmt::format("{} to {}", kind_text(actions.send_kind), set_text(actions.send_to)));
  if (actions.wake) add("wake");
  if (actions.await_use) add("await use");
  return text.empty() ? "nothing" : text;
}

}  // namespace dsm::sim
