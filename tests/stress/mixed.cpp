// Everything at once on the same pages: raw loads and exchanges, also inside borrows of what lies beside them, borrows
// by address, owners, transfers, frees, from all threads of all nodes, which fork meanwhile; and the history is checked
// to be linearizable, object by object: dsmrun -n 4 -- mixed --threads 2 --seconds 600
//
// Every change of an object is a read-modify-write: it notes the value it found and the one it left, which no other
// change leaves. So the notes form one chain from the first value to the last, the order of the changes; a lost update
// breaks it. And nobody may see a value older than one whose change, or sight, had ended before he began.
#include <dsm/dsm.h>
#include <dsm/hints.h>
#include <fmt/core.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <ctime>
#include <mutex>
#include <random>
#include <shared_mutex>
#include <span>
#include <thread>
#include <unordered_map>
#include <vector>

#include "support/command_line.h"

namespace {

struct Options {
  unsigned threads = 2, objects = 48, raw = 10, transfers = 3, owned = 33, inside = 10, forks = 1;
  double seconds = 10;
  std::uint64_t seed = 1;
};

// Borrowers write all words; raw access exchanges the first. So the others must always be alike.
struct Object {
  std::uint64_t value;
  std::uint64_t mark[7];
};
static_assert(sizeof(Object) == 64);

// One object that has an owner. Who changes the owner locks exclusively.
struct Slot {
  dsm::shared_mutex lock;
  dsm::own_ptr<Object> owner;
};

enum class Way : std::uint8_t { kRaw, kBorrow, kOwner, kCount };

struct Note {
  std::int64_t begin, end;
  std::uint64_t found, left;  // left == found: only looked
  std::uint32_t object;
  Way way;
};

constexpr std::size_t kNotes = 4'000;  // a thread makes at the most in one round

struct Log {
  std::uint64_t count;
  std::uint64_t torn;
  Note notes[kNotes];
};

struct Shared {
  dsm::barrier meet;
  dsm::mutex touching;
  std::atomic<std::uint64_t> wrong{0}, forks{0};
  std::uint64_t operations = 0;
  unsigned plain = 0, all = 0;  // objects; those without an owner come first
  bool over = false;
  Object** objects;       // of the plain ones
  std::uint64_t* values;  // of all, at the begin of the round
  Slot** slots;
  Log** logs;
  explicit Shared(unsigned parties) : meet(parties) {}
};

std::int64_t now_ns() {
  timespec time;
  ::clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1'000'000'000LL + time.tv_nsec;
}

std::shared_mutex raw_here;  // of this node's threads: who accesses raw, and (exclusive) who must be alone in that

class Worker {
 public:
  Worker(Shared& shared, unsigned index, const Options& options)
      : shared_(shared),
        options_(options),
        log_(*shared.logs[index]),
        random_(options.seed * 1'000'003 + index),
        next_value_((index + 1ULL) << 40) {}

  void round() {
    log_.count = 0;
    while (log_.count + 1 < kNotes) {  // one has another within it
      if (random_() % 1000 < options_.forks) fork_child();
      const auto object = static_cast<std::uint32_t>(random_() % shared_.all);
      object < shared_.plain ? plain(object) : owned(object);
    }
  }

 private:
  bool percent(unsigned chance) { return random_() % 100 < chance; }
  std::uint64_t fresh_value() { return ++next_value_; }

  template <typename Do>
  void note(std::uint32_t object, Way way, Do act) {
    Note note{now_ns(), 0, 0, 0, object, way};
    act(note);
    note.end = now_ns();
    log_.notes[log_.count++] = note;
  }

  void check(const Object& object) {
    for (const std::uint64_t mark : object.mark) log_.torn += mark != object.mark[0];
  }
  void change(Object& object, Note& note) {
    check(object);
    note.found = object.value;
    note.left = fresh_value();
    object.value = note.left;
    std::fill(std::begin(object.mark), std::end(object.mark), note.left);
  }

  void raw(std::uint32_t which, Object* object) {
    note(which, Way::kRaw, [&](Note& note) {
      std::atomic_ref<std::uint64_t> value(object->value);
      note.left = note.found = value.load();
      if (percent(50)) return;
      note.left = fresh_value();
      note.found = value.exchange(note.left);
    });
  }

  void borrow(std::uint32_t which, Object* object) {
    note(which, Way::kBorrow, [&](Note& note) {
      if (percent(50)) {
        const auto seen = dsm::borrow_shared(object);
        check(*seen);
        note.left = note.found = seen->value;
      } else {
        const bool inside = which < shared_.plain && percent(options_.inside);
        std::unique_lock first(shared_.touching, std::defer_lock);
        std::unique_lock alone(raw_here, std::defer_lock);
        if (inside) first.lock(), alone.lock();
        const auto held = dsm::borrow_mut(object);
        change(*held, note);
        if (inside) touch_beside(which);
      }
    });
  }

  // Every eighth plain object is never borrowed: all touch it inside borrows of its page. One thread at a time, since
  // two nodes' would wait for each other, and alone in its node, whose others could reach what it has (objects.h, 5).
  static constexpr std::uint32_t kGroup = 8, kOnlyRaw = kGroup - 2;
  bool only_raw(std::uint32_t which) const { return options_.inside != 0 && which % kGroup == kOnlyRaw; }
  void touch_beside(std::uint32_t which) {
    const std::uint32_t beside = which / kGroup * kGroup + kOnlyRaw;
    if (which % 2 == 0 && beside < shared_.plain) raw(beside, shared_.objects[beside]);
  }
  void raw_alone(std::uint32_t which, Object* object) {
    const std::shared_lock guard(raw_here);
    raw(which, object);
  }

  // In the midst of what the node's other threads do. The child has this thread's memory as of now, and no node.
  void fork_child() {
    const std::uint64_t value = next_value_;
    const pid_t child = ::fork();
    if (child == 0) ::_exit(next_value_ == value ? 7 : 8);
    int status = 0;
    const bool right =
        child > 0 && ::waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 7;
    if (!right) ++shared_.wrong;
    ++shared_.forks;
  }

  void plain(std::uint32_t which) {
    Object* const object = shared_.objects[which];
    if (only_raw(which)) return raw_alone(which, object);
    if (percent(options_.transfers)) return dsm::transfer(object, static_cast<unsigned>(random_() % dsm::nodes()));
    percent(options_.raw) ? raw_alone(which, object) : borrow(which, object);
  }

  // By address or raw the object changes under the owner's nose: the owner stays as it is, so a shared lock will do.
  void owned(std::uint32_t which) {
    Slot& slot = *shared_.slots[which - shared_.plain];
    if (percent(60)) {
      const std::shared_lock guard(slot.lock);
      if (percent(options_.raw)) return raw(which, slot.owner.address());
      if (percent(20)) return borrow(which, slot.owner.address());
      return note(which, Way::kOwner, [&](Note& note) {
        const auto seen = dsm::borrow_shared(slot.owner);
        check(*seen);
        note.left = note.found = seen->value;
      });
    }
    const std::lock_guard guard(slot.lock);
    if (percent(5)) {
      slot.owner = dsm::transfer(std::move(slot.owner), static_cast<unsigned>(random_() % dsm::nodes()));
      return;
    }
    note(which, Way::kOwner, [&](Note& note) {
      if (percent(5)) return replace(slot, note);
      const auto held = dsm::borrow_mut(slot.owner);
      change(*held, note);
    });
  }

  // The old object is freed, and its memory is soon another object's.
  void replace(Slot& slot, Note& note) {
    Object next;
    {
      const auto seen = dsm::borrow_shared(slot.owner);
      next = *seen;
    }
    change(next, note);
    slot.owner = dsm::make_owned<Object>(next);
  }

  Shared& shared_;
  const Options& options_;
  Log& log_;
  std::mt19937_64 random_;
  std::uint64_t next_value_;
};

// --- the check ------------------------------------------------------------------------------------------------------

class History {
 public:
  History(std::uint32_t object, std::uint64_t first) : object_(object), first_(first) {}
  void add(const Note& note) { notes_.push_back(note); }

  // How many things are wrong; they are printed. `last`: the value at the end.
  std::uint64_t check(std::uint64_t& last) {
    order();
    last = chain_.back();
    std::sort(notes_.begin(), notes_.end(), [](const Note& a, const Note& b) { return a.begin < b.begin; });
    // Of all that had ended before `begin`: the latest value that was left or seen.
    std::vector<const Note*> by_end;
    for (const Note& note : notes_) by_end.push_back(&note);
    std::sort(by_end.begin(), by_end.end(), [](const Note* a, const Note* b) { return a->end < b->end; });
    std::size_t ended = 0, latest = 0;
    for (const Note& note : notes_) {
      for (; ended < by_end.size() && by_end[ended]->end < note.begin; ++ended) {
        latest = std::max(latest, place(by_end[ended]->left));
      }
      if (place(note.found) < latest) complain(note, "found a value older than one that was there before it began");
    }
    return wrong_;
  }

 private:
  void order() {
    std::unordered_map<std::uint64_t, std::uint64_t> next;
    for (const Note& note : notes_) {
      if (note.left != note.found && !next.emplace(note.found, note.left).second) complain(note, "lost an update");
    }
    chain_.push_back(first_);
    for (auto found = next.find(first_); found != next.end(); found = next.find(found->second)) {
      chain_.push_back(found->second);
      if (chain_.size() > notes_.size() + 1) break;
    }
    for (std::size_t i = 0; i < chain_.size(); ++i) places_.emplace(chain_[i], i);
    for (const Note& note : notes_) {
      if (!places_.contains(note.found)) complain(note, "found a value that never was");
      if (!places_.contains(note.left)) complain(note, "left a value that nobody found, and that was not the last");
    }
  }
  std::size_t place(std::uint64_t value) const {
    const auto found = places_.find(value);
    return found == places_.end() ? chain_.size() : found->second;
  }
  void complain(const Note& note, const char* what) {
    constexpr const char* kWays[] = {"raw", "borrow", "owner"};
    if (++wrong_ > 3) return;
    fmt::print(stderr, "object {}: a {} access {} (found {:#x}, left {:#x})\n", object_,
               kWays[static_cast<std::size_t>(note.way)], what, note.found, note.left);
  }

  const std::uint32_t object_;
  const std::uint64_t first_;
  std::vector<Note> notes_;
  std::vector<std::uint64_t> chain_;
  std::unordered_map<std::uint64_t, std::size_t> places_;
  std::uint64_t wrong_ = 0;
};

// Each node checks its part of the objects.
void check_round(Shared& shared, unsigned logs) {
  std::unordered_map<std::uint32_t, History> histories;
  for (std::uint32_t object = dsm::node(); object < shared.all; object += dsm::nodes()) {
    histories.emplace(object, History(object, shared.values[object]));
  }
  for (unsigned i = 0; i < logs; ++i) {
    for (const Note& note : std::span(shared.logs[i]->notes).first(shared.logs[i]->count)) {
      if (const auto found = histories.find(note.object); found != histories.end()) found->second.add(note);
    }
  }
  for (auto& [object, history] : histories) shared.wrong += history.check(shared.values[object]);
}

// --- the run --------------------------------------------------------------------------------------------------------

// Some have owners; of the others half lie where all memory is spread, half packed at one node after the other.
Shared* build(const Options& options) {
  const unsigned logs = dsm::nodes() * options.threads;
  auto* shared = dsm::make<Shared>(logs);
  const auto array = [](std::size_t bytes) { return dsm::alloc(bytes, 64); };
  shared->all = options.objects;
  shared->plain = options.objects - options.objects * options.owned / 100;
  shared->objects = static_cast<Object**>(array(shared->plain * sizeof(Object*)));
  shared->values = static_cast<std::uint64_t*>(array(shared->all * sizeof(std::uint64_t)));
  shared->slots = static_cast<Slot**>(array(options.objects * sizeof(Slot*)));
  shared->logs = static_cast<Log**>(array(logs * sizeof(Log*)));
  std::fill_n(shared->values, shared->all, 0);
  const auto spread = static_cast<Object*>(dsm::alloc(options.objects * sizeof(Object), 64, dsm::interleaved));
  for (unsigned i = 0; i < shared->plain; ++i) {
    void* const packed = dsm::alloc(sizeof(Object), 64, dsm::on_node(i % dsm::nodes()));
    shared->objects[i] = ::new (i % 2 == 0 ? &spread[i] : packed) Object{};
  }
  for (unsigned i = 0; i < shared->all - shared->plain; ++i) {
    shared->slots[i] = dsm::make<Slot>();
    shared->slots[i]->owner = dsm::make_owned<Object>();
  }
  for (unsigned i = 0; i < logs; ++i) {
    shared->logs[i] = static_cast<Log*>(dsm::alloc(sizeof(Log), 64, dsm::on_node(i / options.threads)));
    shared->logs[i]->count = shared->logs[i]->torn = 0;
  }
  return shared;
}

void work(Shared& shared, const Options& options, unsigned thread, std::chrono::steady_clock::time_point until) {
  const unsigned logs = dsm::nodes() * options.threads;
  const unsigned index = dsm::node() * options.threads + thread;
  Worker worker(shared, index, options);
  for (;;) {
    worker.round();
    shared.meet.arrive_and_wait();
    if (thread == 0) check_round(shared, logs);
    if (index == 0) {
      for (unsigned i = 0; i < logs; ++i) {
        shared.operations += shared.logs[i]->count;
        shared.wrong += shared.logs[i]->torn;
      }
      shared.over = std::chrono::steady_clock::now() >= until || shared.wrong != 0;
    }
    shared.meet.arrive_and_wait();
    if (shared.over) return;
  }
}

int run(Options options) {
  if (dsm::start()) return 1;
  if (dsm::nodes() == 1 && options.raw != 100) {
    options.raw = options.inside = 0;
    fmt::print("borrows do not keep plain accesses off where there is one node: none beside them\n");
  }
  if (dsm::node() == 0) (void)dsm::publish("mixed", build(options));
  auto& shared = *static_cast<Shared*>(dsm::lookup("mixed"));
  const auto until =
      std::chrono::steady_clock::now() + std::chrono::nanoseconds(static_cast<std::int64_t>(options.seconds * 1e9));
  std::vector<std::thread> threads;
  for (unsigned i = 1; i < options.threads; ++i) {
    threads.emplace_back([&, i] { work(shared, options, i, until); });
  }
  work(shared, options, 0, until);
  for (std::thread& thread : threads) thread.join();
  if (dsm::node() == 0) {
    fmt::print("{:<32}{:>12}\n{:<32}{:>12}\n{:<32}{:>12}\n", "operations", shared.operations, "forks",
               shared.forks.load(), "wrong", shared.wrong.load());
    fmt::print("mixed: {}\n", shared.wrong == 0 ? "every history is linearizable" : "FAILED");
  }
  return shared.wrong == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  dsm::support::CommandLine app{
      "Raw access, borrows, owners, transfers, frees and forks on the same pages: was it linearizable?"};
  app.option("--threads", options.threads, "per node").range(1, 64);
  app.option("--objects", options.objects, "how many").range(3, 100'000);
  app.option("--raw", options.raw, "percent of the accesses that are raw").range(0, 100);
  app.option("--transfers", options.transfers, "percent that are transfers").range(0, 100);
  app.option("--owned", options.owned, "percent of the objects that have an owner").range(0, 100);
  app.option("--inside", options.inside, "percent of the mutable borrows with raw access beside").range(0, 100);
  app.option("--forks", options.forks, "forks among a thousand operations").range(0, 1000);
  app.option("--seconds", options.seconds, "how long").positive();
  app.option("--seed", options.seed, "of the choices each thread makes");
  if (const auto status = app.parse(argc, argv)) return *status;
  return run(options);
}
