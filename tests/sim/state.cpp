// A simulated cluster as bytes, and what two states must share to be the same. Values are told apart, not measured, and
// times are compared: so both are renumbered, in their order, and what no check can ask about any more is forgotten.
#include <algorithm>

#include "tests/sim/simulator.h"

namespace dsm::sim {
namespace {

// Numbers of any size, small ones in one byte.
class Writer {
 public:
  static constexpr bool kReads = false;
  explicit Writer(std::string& bytes) : bytes_(bytes) { room(); }
  ~Writer() { bytes_.resize(size()); }

  template <typename T>
  void operator()(T& field) {
    auto value = static_cast<std::uint64_t>(field);
    if (end_ - next_ < 10) room();
    for (; value >= 0x80; value >>= 7) *next_++ = static_cast<char>(value | 0x80);
    *next_++ = static_cast<char>(value);
  }
  std::size_t size() const { return static_cast<std::size_t>(next_ - bytes_.data()); }

 private:
  void room() {
    const std::size_t used = next_ == nullptr ? 0 : size();
    bytes_.resize(used + 1024);
    next_ = bytes_.data() + used;
    end_ = bytes_.data() + bytes_.size();
  }

  std::string& bytes_;
  char* next_ = nullptr;
  char* end_ = nullptr;
};

class Reader {
 public:
  static constexpr bool kReads = true;
  explicit Reader(const std::string& bytes) : next_(bytes.data()) {}

  template <typename T>
  void operator()(T& field) {
    std::uint64_t value = 0;
    for (unsigned shift = 0;; shift += 7) {
      const auto byte = static_cast<std::uint8_t>(*next_++);
      value |= std::uint64_t{byte & 0x7fu} << shift;
      if (byte < 0x80) break;
    }
    field = static_cast<T>(value);
  }

 private:
  const char* next_;
};

template <typename Archive, typename T, typename One>
void each(Archive& all, std::vector<T>& items, One one) {
  std::size_t size = items.size();
  all(size);
  if constexpr (Archive::kReads) items.resize(size);
  for (T& item : items) one(item);
}

template <typename Archive, typename T, typename One>
void each(Archive& all, Fifo<T>& items, One one) {
  std::size_t size = items.size();
  all(size);
  if constexpr (Archive::kReads) {
    items.clear();
    for (std::size_t i = 0; i < size; ++i) items.push(T{});
  }
  for (std::size_t i = 0; i < size; ++i) one(items[i]);
}

template <typename Archive, typename... Fields>
void fields(Archive& all, Fields&... field) {
  (all(field), ...);
}

// Bit-fields have no address.
template <typename Archive>
void archive_page(Archive& all, proto::Page& page) {
  const auto flag = [&all](auto value, auto set) {
    all(value);
    if constexpr (Archive::kReads) set(value);
  };
  auto flags = static_cast<unsigned>(page.fresh) | static_cast<unsigned>(page.look_asked) << 1 |
               static_cast<unsigned>(page.enlisted) << 2 | static_cast<unsigned>(page.fetched) << 3 |
               static_cast<unsigned>(page.reading) << 4 | static_cast<unsigned>(page.soft) << 5 |
               static_cast<unsigned>(page.joined) << 6 | static_cast<unsigned>(page.nested) << 7;
  flags = flags << 3 | static_cast<unsigned>(page.ahead) << 2 | static_cast<unsigned>(page.keeps) << 1 |
          static_cast<unsigned>(page.migratory);
  auto kinds = static_cast<unsigned>(page.access) | static_cast<unsigned>(page.want) << 2 |
               static_cast<unsigned>(page.asked) << 4;
  flag(flags, [&page](unsigned bits) {
    page.migratory = bits & 1, page.keeps = bits >> 1 & 1, page.ahead = bits >> 2 & 1, bits >>= 3;
    page.fresh = bits & 1, page.look_asked = bits >> 1 & 1, page.enlisted = bits >> 2 & 1;
    page.fetched = bits >> 3 & 1, page.reading = bits >> 4 & 1, page.soft = bits >> 5 & 1, page.joined = bits >> 6 & 1;
    page.nested = bits >> 7 & 1;
  });
  flag(kinds, [&page](unsigned bits) {
    page.access = static_cast<Access>(bits & 3);
    page.want = static_cast<Access>(bits >> 2 & 3);
    page.asked = static_cast<Access>(bits >> 4 & 3);
  });
  flag(page.phase, [&page](proto::Phase phase) { page.phase = phase; });
  flag(NodeSet{page.readers}, [&page](NodeSet set) { page.readers = set; });
  flag(NodeSet{page.borrowers}, [&page](NodeSet set) { page.borrowers = set; });
  all(page.seen);
}

template <typename Archive>
void archive_actions(Archive& all, proto::Actions& todo) {
  fields(all, todo.unmap, todo.lower, todo.write_page, todo.waiters_add, todo.swap, todo.read_latch, todo.read_page,
         todo.expects_done, todo.expected, todo.desired, todo.map, todo.raise, todo.send_to, todo.send_kind,
         todo.send_want, todo.send_readers, todo.send_borrowers, todo.reopen, todo.wake, todo.await_use);
}

template <typename Archive>
void archive_half(Archive& all, Half& half) {
  fields(all, half.a, half.b);
}

template <typename Archive>
void archive_bytes(Archive& all, Bytes& bytes) {
  for (Half& half : bytes) archive_half(all, half);
}

template <typename Archive>
void archive_copy(Archive& all, Copy& copy) {
  archive_page(all, copy.page);
  archive_bytes(all, copy.bytes);
  fields(all, copy.view, copy.next_piece, copy.hint, copy.dead, copy.leaving, copy.voluntary, copy.in_flight,
         copy.done_due, copy.old, copy.seen.word, copy.seen.waiters, copy.await_use, copy.owed, copy.readers,
         copy.writer, copy.looked, copy.borrows, copy.touches, copy.closed);
  if (copy.executing()) archive_actions(all, copy.todo);
}

template <typename Archive>
void archive_turn(Archive& all, proto::Turn& turn) {
  fields(all, turn.node, turn.wish, turn.small, turn.in_place);
}

template <typename Archive>
void archive_object(Archive& all, Object& object) {
  proto::Queue& queue = object.queue;
  fields(all, object.header, object.answered, object.answer, queue.busy, queue.reading, queue.again, queue.recalled,
         queue.granting, queue.seen, queue.wanted, object.todo.read, object.todo.swap, object.todo.expected,
         object.todo.desired);
  each(all, object.turns, [&all](proto::Turn& turn) { archive_turn(all, turn); });
  each(all, object.askers, [&all](Object::Asker& asker) { fields(all, asker.node, asker.thread); });
}

template <typename Archive>
void archive_work(Archive& all, Work& work) {
  proto::Borrow& borrow = work.borrow;
  fields(all, borrow.stage, borrow.wish, borrow.have, borrow.releasing, borrow.changed, borrow.give_back, borrow.keep,
         borrow.marked, borrow.lost, borrow.tries, borrow.to, borrow.copy, borrow.word, borrow.knows, borrow.known);
  archive_half(all, work.bytes);
  fields(all, work.results.kind, work.results.before, work.results.old, work.results.after, work.results.settled,
         work.done_due, work.flying, work.began, work.pending, work.worthless);
}

template <typename Archive>
void archive_object_letter(Archive& all, ObjectLetter& one) {
  fields(all, one.kind, one.from, one.page, one.object, one.thread, one.word);
  archive_turn(all, one.turn);
}

template <typename Archive>
void archive_cached(Archive& all, Cached& cached) {
  fields(all, cached.have, cached.word, cached.standing, cached.dirty, cached.holder, cached.holder_then,
         cached.working, cached.recalled);
  archive_half(all, cached.bytes);
  if (cached.holder == kGiver) archive_work(all, cached.giving);
  each(all, cached.forgets, [&all](ObjectLetter& one) { archive_object_letter(all, one); });
}

template <typename Archive>
void archive_outer(Archive& all, std::optional<unsigned>& outer) {
  unsigned page = outer ? *outer + 1 : 0;
  all(page);
  if constexpr (Archive::kReads) outer = page == 0 ? std::nullopt : std::optional(page - 1);
}

}  // namespace

template <typename Archive>
void Simulator::archive(Archive& all) {
  for (Home& home : model_.homes) {
    fields(all, home.latch.word, home.latch.waiters);
    archive_bytes(all, home.bytes);
  }
  for (Copy& copy : model_.copies) archive_copy(all, copy);
  for (Bytes& bytes : model_.truth) archive_bytes(all, bytes);
  for (Object& object : model_.objects) archive_object(all, object);
  for (History& history : model_.histories) {
    each(all, history.values, [&all](History::Value& value) { fields(all, value.value, value.from, value.since); });
  }
  for (Cached& cached : model_.caches) archive_cached(all, cached);
  for (Life& life : model_.lives) {
    fields(all, life.stage, life.users, life.owned, life.changing, life.colour, life.looked, life.no_copies,
           life.awaited);
  }
  for (Thread& thread : threads_) {
    fields(all, thread.state, thread.intent, thread.page, thread.left, thread.holds, thread.asked, thread.object,
           thread.change, thread.to, thread.nests, thread.pinned, thread.answers, thread.awaits, thread.granted,
           thread.lost, thread.inside, thread.touching, thread.touched, thread.raw_now, thread.regains);
    archive_outer(all, thread.outer);
  }
  for (unsigned i = 0; i < works_.size(); ++i) {
    if (borrows(i)) archive_work(all, works_[i]);
  }
  for (Fifo<Op>& wire : wires_) {
    each(all, wire, [&all](Op& op) {
      fields(all, op.kind, op.page, op.half, op.last, op.voluntary, op.operand, op.expected, op.who);
    });
  }
  const auto letter = [&all](Letter& one) {
    fields(all, one.from, one.message.kind, one.message.want, one.message.first, one.message.readers,
           one.message.borrowers);
  };
  for (Fifo<Letter>& letters : mail_) each(all, letters, letter);
  for (Fifo<Letter>& letters : late_) each(all, letters, letter);
  const auto object_letter = [&all](ObjectLetter& one) { archive_object_letter(all, one); };
  for (Fifo<ObjectLetter>& letters : object_mail_) each(all, letters, object_letter);
  for (Fifo<Parcel>& parcels : overflows_) {
    each(all, parcels, [&](Parcel& one) {
      all(one.object);
      letter(one.letter);
      object_letter(one.object_letter);
    });
  }
  fields(all, last_value_, generating_, counts_.moves);
}

// What follows from the rest, or only counts.
template <typename Archive>
void Simulator::archive_unhashed(Archive& all) {
  checker_.archive(all);
  for (unsigned actor = 0; actor < actors_.size(); ++actor) {
    bool can_move = scheduler_.can_move(actor);
    all(can_move);
    if constexpr (Archive::kReads) scheduler_.set(actor, can_move);
  }
}

std::size_t Simulator::save(std::string& bytes) {
  Writer writer(bytes);
  archive(writer);
  const std::size_t canonical = writer.size();
  archive_unhashed(writer);
  return canonical;
}

void Simulator::load(const std::string& bytes) {
  Reader reader(bytes);
  archive(reader);
  archive_unhashed(reader);
  for (unsigned i = 0; i < works_.size(); ++i) {
    if (!borrows(i)) works_[i] = Work{};
  }
  for (Cached& cached : model_.caches) {
    if (cached.holder != kGiver) cached.giving = Work{};
  }
}

// --- states alike ---------------------------------------------------------------------------------------------------

void Simulator::normalise() {
  normalise_copies();
  normalise_threads();
  forget_histories();
  rename_values();
  rename_times();
}

void Simulator::normalise_copies() {
  for (unsigned i = 0; i < model_.copies.size(); ++i) {
    Copy& copy = model_.copies[i];
    const bool moving = copy.executing() || copy.in_flight || copy.done_due;
    if (!copy.executing()) {
      copy.todo = {};
      copy.hint = copy.voluntary = false;
    }
    if (!copy.in_flight && !copy.done_due) copy.old = 0, copy.seen = {};
    const bool no_bytes = copy.page.access == Access::kNone || copy.page.access == Access::kObject;
    if (!moving && no_bytes && !copy.page.fetched) copy.bytes = {Half(~0ull), Half(~0ull)};
  }
  for (unsigned i = 0; i < model_.objects.size(); ++i) {
    Object& object = model_.objects[i];
    if (!object.answered) object.answer = 0;
    if (object.queue.busy) continue;
    object.todo = {};
    object.queue = {.again = object.queue.again, .recalled = object.queue.recalled};
  }
  for (Cached& cached : model_.caches) {
    if (!cached.have && !cached.standing) cached.word = 0, cached.bytes = Half();
    if (cached.holder != kGiver) cached.giving = Work{}, cached.holder_then = kNobodyHolds;
  }
}

void Simulator::normalise_threads() {
  for (unsigned i = 0; i < threads_.size(); ++i) {
    Thread& thread = threads_[i];
    if (thread.state == ThreadState::kChoosing || thread.state == ThreadState::kFinished) {
      thread = {.node = thread.node, .state = thread.state, .left = thread.left};
    }
    if (!thread.awaits) thread.granted = 0, thread.lost = false;
    Work& work = works_[i];
    if (!borrows(i)) work = Work{};
    if (!work.flying && !work.done_due) work.results = {};
  }
}

// Values that nobody may see any more who looks now, or has begun to look.
void Simulator::forget_histories() {
  for (unsigned i = 0; i < model_.histories.size(); ++i) {
    std::uint64_t first = ~0ull - 1;
    for (unsigned index = 0; index < threads_.size(); ++index) {
      const Thread& thread = threads_[index];
      const bool looks = borrows(index) && thread.page * kObjectsPerPage + thread.object == i;
      if (looks) first = std::min(first, works_[index].began);
    }
    std::vector<History::Value>& values = model_.histories[i].values;
    std::size_t current = 0;
    for (std::size_t v = 0; v < values.size(); ++v) {
      if (values[v].since < first) current = v;
    }
    values.erase(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(current));
    if (values[0].since < first) values[0].from = values[0].since = 0;
  }
}

namespace {

// The places of numbers in their order; 0 and ~0 stay what they are.
class Ranks {
 public:
  void add(std::uint64_t number) {
    if (number != 0 && number != ~0ull) numbers_.push_back(number);
  }
  void sort() {
    std::sort(numbers_.begin(), numbers_.end());
    numbers_.erase(std::unique(numbers_.begin(), numbers_.end()), numbers_.end());
  }
  std::uint64_t most() const { return numbers_.size(); }
  void rename(std::uint64_t& number) const {
    if (number == 0 || number == ~0ull) return;
    const auto found = std::lower_bound(numbers_.begin(), numbers_.end(), number);
    number = static_cast<std::uint64_t>(found - numbers_.begin()) + 1;
  }

 private:
  std::vector<std::uint64_t> numbers_;
};

}  // namespace

void Simulator::rename_values() {
  const auto each_value = [this](auto act) {
    const auto half = [&act](Half& one) { act(one.a), act(one.b); };
    for (Home& home : model_.homes) std::for_each(home.bytes.begin(), home.bytes.end(), half);
    for (Copy& copy : model_.copies) std::for_each(copy.bytes.begin(), copy.bytes.end(), half);
    for (Bytes& bytes : model_.truth) std::for_each(bytes.begin(), bytes.end(), half);
    for (Cached& cached : model_.caches) half(cached.bytes), half(cached.giving.bytes), act(cached.giving.pending);
    for (Work& work : works_) half(work.bytes), act(work.pending);
    for (History& history : model_.histories) {
      for (History::Value& value : history.values) act(value.value);
    }
  };
  Ranks ranks;
  each_value([&ranks](std::uint64_t& value) { ranks.add(value); });
  ranks.sort();
  each_value([&ranks](std::uint64_t& value) { ranks.rename(value); });
  last_value_ = ranks.most();
}

void Simulator::rename_times() {
  const auto each_time = [this](auto act) {
    for (Work& work : works_) act(work.began);
    for (History& history : model_.histories) {
      for (History::Value& value : history.values) act(value.from), act(value.since);
    }
  };
  Ranks ranks;
  each_time([&ranks](std::uint64_t& time) { ranks.add(time); });
  ranks.sort();
  each_time([&ranks](std::uint64_t& time) { ranks.rename(time); });
  counts_.moves = ranks.most();
}

}  // namespace dsm::sim
