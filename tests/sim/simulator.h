// One simulated cluster run: real proto::step, simulated memory, network and threads. Deterministic: everything that
// moves is an actor, one moves at a time, and the scheduler, fed by the seed, says which. Single-threaded; many
// simulators may run in parallel.
//
// What moves on its own, each move being one atomic step:
//   thread (node, i)     tries an access; faults if it may not, sleeps until woken, tries again
//   agent (node, page)   in fine mode: the next piece of a step's actions (the page is locked meanwhile)
//   end (node, page)     hands the results of a finished chain to the protocol
//   use (node, page)     tells the protocol that a gained page has been used
//   wire (node, home)    the next one-sided operation of the node at that home: first posted, first done
//   mail (from, to)      delivers the oldest message of that pair
//   late (to)            delivers a message that nobody has sent or that arrived once already
//   letter (from, to)    delivers the oldest message about objects of that pair
//   queue (page, object) does the operation that the queue of the object's home has in mind
//   flush (from, to)     puts a message that found the pair's ring full into it
//   room (node)          puts a page out of the node's memory, or looks for one that can go
//   life (page, object)  ends an object's life at its home: looks at the latch, then swaps the header
//   notice (node)        tells the node that another one has ended: so does it, then
#pragma once

#include <fmt/core.h>

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/sim/checker.h"
#include "tests/sim/fifo.h"
#include "tests/sim/model.h"
#include "tests/sim/options.h"
#include "tests/sim/random.h"
#include "tests/sim/room.h"
#include "tests/sim/scheduler.h"

namespace dsm::sim {

// The last lines of what happened, or all of them on stdout.
class Trace {
 public:
  static constexpr std::size_t kAll = ~std::size_t{0};
  explicit Trace(bool print_all, std::size_t kept = 60) : print_all_(print_all), kept_(kept) {}
  void add(std::string line);
  void cut(std::size_t lines) { lines_.resize(lines); }
  const std::deque<std::string>& lines() const { return lines_; }

 private:
  const bool print_all_;
  const std::size_t kept_;
  std::deque<std::string> lines_;
};

struct Counts {
  std::uint64_t moves = 0;
  std::uint64_t accesses = 0;
  std::uint64_t gains = 0;
  double fair_share = 0;  // fair rounds needed, of those allowed
  Overtaken overtaken;
};

class Simulator {
 public:
  Simulator(const Options& options, Trace* trace);

  void run();  // throws Failure
  const Counts& counts() const { return counts_; }

  // One move after the other, by whoever goes through all of them (explorer.h).
  void leave_chance_to(Choices* choices) { random_.leave_to(choices); }
  std::vector<unsigned> movable() const;  // actors, in their order; one that only makes up its mind comes alone
  void move(unsigned actor) { move(actors_[actor]); }
  void finish();  // nobody makes new accesses: fair from here on, to the end; what then must hold is checked

  // state.cpp: all that changes, as bytes. Equal bytes up to `canonical` mean the same future. normalise() makes
  // states alike that differ in no more than what has been and is forgotten.
  void normalise();
  std::size_t save(std::string& bytes);  // returns `canonical`
  void load(const std::string& bytes);

 private:
  enum class ActorKind : std::uint8_t {
    kThread,
    kAgent,
    kEnd,
    kUse,
    kWire,
    kMail,
    kLate,
    kLetter,
    kQueue,
    kFlush,
    kRoom,
    kNotice,
    kLife
  };
  struct Actor {
    ActorKind kind;
    std::uint8_t a, b;
  };

  enum class Intent : std::uint8_t {
    kRead,
    kWrite,
    kModify,
    kBorrow,
    kPrefetch,
    kAhead,
    kFresh,
    kKeepReading,
    kRelease,
    kTransfer,
    kClean
  };
  enum class ThreadState : std::uint8_t {
    kChoosing,
    kTrying,
    kFaulting,  // about to ask the protocol
    kHinting,
    kHolding,     // a lock, or a borrow
    kSleeping,    // until its node gains the page
    kQueueing,    // until the lock is free, or the page open for borrows
    kForgetting,  // until all nodes have forgotten the object it has changed
    kFinished
  };
  struct Thread {
    NodeId node;
    ThreadState state = ThreadState::kChoosing;
    Intent intent = Intent::kRead;
    unsigned page = 0;
    unsigned left;
    unsigned holds = 0;   // kHolding: moves until it lets go
    bool asked = false;   // a lock: it has faulted for it
    unsigned object = 0;  // kBorrow: which,
    bool change = false;  // and whether to change it,
    NodeId to = kNoNode;  // and who is to be the standing owner then
    bool nests = false;   // and whether it is to be held around another borrow
    bool pinned = false;  // it has the page, and waits for another thread of its node to be done with the object
    NodeSet answers = 0;  // kForgetting: whose are still to come
    std::optional<unsigned> outer = {};  // the page of the borrow around this one
    bool awaits = false;  // it is in the home's queue, without the page; or has been granted the object since, and
    proto::Header granted = 0;  // gains the page again
    bool lost = false;          // the page has left meanwhile
    // kBorrow: it is to touch the page plainly within, does so, or has: the borrow holds the page whatever it is here
    // for, and lets object work go until what it has changed is to go home.
    bool inside = false, touching = false, touched = false, raw_now = false, regains = false;
  };

  enum class OpKind : std::uint8_t {
    kWriteHalf,
    kAdd,
    kSwap,
    kSwapRead,
    kSwapWrite,
    kReadWord,
    kReadWaiters,
    kReadLatch,
    kReadHalf,
    kHeaderBefore,
    kHeaderSwap,
    kHeaderAdd,
    kHeaderAfter,
    kHeaderLast,
    kReadWordA,
    kReadWordB,
    kWriteWordA,
    kWriteWordB
  };
  struct Op {
    OpKind kind;
    std::uint8_t page;
    std::uint8_t half = 0;
    bool last = false;       // of a chain that ends with kDone
    bool voluntary = false;  // a swap that gives the page up unasked
    std::uint64_t operand = 0;
    std::uint64_t expected = 0;
    unsigned who = 0;  // of an object's: the thread, or kGiver
  };
  struct Letter {
    NodeId from;
    proto::PageMessage message;
  };
  // A message of either kind.
  struct Parcel {
    bool object = false;
    Letter letter{};
    ObjectLetter object_letter{};
  };

  // simulator.cpp: the run
  void make_homes();
  void make_actors();
  void make_trouble();
  bool belongs_to(const Actor& actor, NodeId node) const;
  void run_until(std::uint64_t moves);
  void finish_fairly();
  void run_fairly();
  bool all_finished() const;
  void send_home();
  void release_all();
  void move(const Actor& actor);
  std::uint64_t length() const;
  std::uint64_t fair_rounds_allowed() const;
  std::uint64_t backlog() const;
  template <typename... Args>
  void trace(fmt::format_string<const Args&...> format, const Args&... args) {
    if (trace_ != nullptr) trace_->add(fmt::format("{:6} ", counts_.moves) + fmt::format(format, args...));
  }

  // room.cpp: bounded local memory
  void make_rooms();
  Room* room_for(NodeId node, unsigned page);
  bool lacks_room(NodeId node, unsigned page);
  void filled(NodeId node, unsigned page);
  void came_back(NodeId node, unsigned page);
  void put_out(NodeId node);
  void settle_leaving(NodeId node, unsigned page);
  void clean(NodeId node, unsigned page);
  void refresh_room(NodeId node);
  void check_rooms() const;

  // crash.cpp: the end of a node
  void crash();
  void end_node(NodeId node, NodeId because_of);
  void give_notice();
  void hear(NodeId node);
  bool concerns(NodeId node, unsigned page) const;
  bool concerns_objects(NodeId node, unsigned page) const;
  void spread_blame();
  void check_who_waits();

  // state.cpp
  void normalise_copies();
  void normalise_threads();
  void forget_histories();
  void rename_values();
  void rename_times();
  template <typename Archive>
  void archive(Archive& all);
  template <typename Archive>
  void archive_unhashed(Archive& all);

  // threads.cpp: the simulated program
  void move_thread(unsigned index);
  bool somebody_waits(NodeId node, unsigned page) const;
  void choose(Thread& thread);
  void try_access(Thread& thread);
  void access(Thread& thread, Copy& copy);
  void fault_or_hint(Thread& thread);
  void refresh_thread(unsigned index);
  void send_stray();
  static Access needed(const Thread& thread);

  // borrows.cpp: the program's borrows
  proto::ObjectPlace object_place(NodeId node, unsigned page) const;
  bool in_place(const Thread& thread) const;
  bool borrows(unsigned index) const;
  void try_borrow(Thread& thread, Copy& copy);
  void begin_borrow(unsigned index);
  void borrow_another(Thread& thread);
  void end_outer(Thread& thread);
  void await_grant(unsigned index);
  void granted(unsigned index, proto::Header word);
  static bool nested(const Thread& thread) { return thread.outer.has_value() || thread.awaits; }
  void step_borrow(unsigned index, const proto::BorrowEvent& event);
  void ended_step(unsigned index, proto::Outcome outcome);
  bool stands(const Thread& thread, proto::Header word) const;
  static void keep(Cached& cached, const Work& work, proto::Header word);
  void saw_value(unsigned index);
  void found_value(unsigned index);
  void work(Thread& thread);
  bool may_touch(const Thread& thread) const;
  bool borrowed_here(NodeId node, unsigned page, unsigned object) const;
  void touch(unsigned index);
  void regain(unsigned index);
  void change(unsigned index);
  void release(unsigned index);
  void released(unsigned index);
  void end_borrow(unsigned index);
  void close_if_asked(NodeId node, unsigned page, Copy& copy);

  // objects.cpp: objects between nodes
  void act(NodeId node, unsigned page, unsigned object, unsigned who, Work& work, const proto::BorrowActions& todo);
  void fly(NodeId node, unsigned page, unsigned object, unsigned who, const proto::BorrowActions& todo);
  Work& work_of(const Op& op, NodeId node);
  void execute_object(NodeId node, const Op& op, Home& home);
  void ended_chain(NodeId node, const Op& op);
  void write_object(NodeId from, NodeId to, const ObjectLetter& letter);
  void deliver_object(NodeId from, NodeId to);
  void step_queue(unsigned page, unsigned which, proto::QueueEvent event);
  void move_queue(unsigned page, unsigned which);
  void give_back(NodeId node, unsigned page, unsigned object);
  void step_giving(NodeId node, unsigned page, unsigned object, const proto::BorrowEvent& event);
  bool giving_back(NodeId node, unsigned page) const;
  bool nothing_standing(NodeId node, unsigned page);
  void forget_copies(NodeId node, unsigned page);

  // lives.cpp: objects freed and made anew
  void begin_lives();
  bool begin_use(Thread& thread);
  void look_for_dead(Thread& thread) const;
  void end_use(unsigned index);
  void used(Thread& thread);
  void ask_to_forget(Thread& thread, NodeId node, unsigned index);
  void free_object(const Thread& thread, Life& life);
  void end_life(unsigned page, unsigned which);
  void ended_life(unsigned page, unsigned which);
  bool awaits_forgetting(NodeId home) const;
  void forget(NodeId node, const ObjectLetter& letter);
  void forgotten(const ObjectLetter& letter);
  bool make_object(Thread& thread, Life& life);
  std::uint64_t passed_lives(const Thread& thread);

  // locks.cpp: pages without bytes as locks
  void try_lock(Thread& thread, Copy& copy);
  void hold(Thread& thread);
  void settle_lock(NodeId node, unsigned page, Copy& copy);
  bool lock_may_go(const Copy& copy) const;
  void use_lock(NodeId node, unsigned page, Copy& copy);

  // steps.cpp: events into the protocol, its actions out
  void step(NodeId node, unsigned page, const proto::Event& event);
  void move_agent(NodeId node, unsigned page);
  void do_piece(NodeId node, unsigned page, Copy& copy);
  bool has_piece(const Copy& copy, Piece piece) const;
  void advance(Copy& copy);
  void down(NodeId node, unsigned page, Copy& copy);
  void chain(NodeId node, unsigned page, Copy& copy);
  void up(NodeId node, unsigned page, Copy& copy);
  void send(NodeId node, unsigned page, const Copy& copy);
  void give(NodeId node, unsigned page, Copy& copy);
  void wake(NodeId node, unsigned page, ThreadState state);
  void end(NodeId node, unsigned page);
  void use(NodeId node, unsigned page);
  void refresh(NodeId node, unsigned page);
  bool mutated(Mutation mutation) const { return model_.options.mutation == mutation; }

  // wire.cpp: operations and messages under way
  void move_wire(NodeId node, NodeId home);
  void trace_op(NodeId node, const Op& op, const Home& home);
  void execute(NodeId node, const Op& op, Home& home, Copy& copy);
  void swap(NodeId node, const Op& op, Home& home, Copy& copy);
  void replace_word(NodeId node, const Op& op, Home& home);
  void post(NodeId from, NodeId to, const Parcel& parcel);
  void put(NodeId from, NodeId to, const Parcel& parcel);
  bool has_room(NodeId from, NodeId to);
  void flush(NodeId from, NodeId to);
  void made_room(NodeId from, NodeId to);
  void refresh_flush(NodeId from, NodeId to);
  void deliver(Fifo<Letter>& letters, NodeId to);
  void refresh_mail(NodeId to);
  NodeSet waiters_seen(NodeId node, NodeSet waiters) const;

  unsigned thread_actor(unsigned index) const { return index; }
  unsigned page_actor(ActorKind kind, NodeId node, unsigned page) const {
    const unsigned which = static_cast<unsigned>(kind) - static_cast<unsigned>(ActorKind::kAgent);
    return first_page_actor_ + (which * model_.options.nodes + node) * model_.options.pages + page;
  }
  unsigned wire_actor(NodeId node, NodeId home) const { return first_wire_ + node * model_.options.nodes + home; }
  unsigned mail_actor(NodeId from, NodeId to) const { return first_mail_ + from * model_.options.nodes + to; }
  unsigned late_actor(NodeId to) const { return first_late_ + to; }
  unsigned object_mail_actor(NodeId from, NodeId to) const { return first_letter_ + from * model_.options.nodes + to; }
  unsigned queue_actor(unsigned page, unsigned object) const {
    return first_queue_ + page * kObjectsPerPage + model_.header(object);
  }
  unsigned life_actor(unsigned page, unsigned object) const { return first_life_ + page * kObjectsPerPage + object; }
  unsigned flush_actor(NodeId from, NodeId to) const { return first_flush_ + from * model_.options.nodes + to; }
  unsigned room_actor(NodeId node) const { return first_room_ + node; }
  unsigned notice_actor(NodeId node) const { return first_notice_ + node; }
  Fifo<Parcel>& overflow(NodeId from, NodeId to) { return overflows_[from * model_.options.nodes + to]; }
  Fifo<ObjectLetter>& object_mail(NodeId from, NodeId to) { return object_mail_[from * model_.options.nodes + to]; }
  Fifo<Op>& wire(NodeId node, NodeId home) { return wires_[node * model_.options.nodes + home]; }
  Fifo<Letter>& mail(NodeId from, NodeId to) { return mail_[from * model_.options.nodes + to]; }

  Model model_;
  Checker checker_;
  Random random_;
  Trace* const trace_;
  std::vector<Actor> actors_;
  unsigned first_page_actor_ = 0, first_wire_ = 0, first_mail_ = 0, first_late_ = 0;
  unsigned first_letter_ = 0, first_queue_ = 0, first_flush_ = 0, first_room_ = 0, first_notice_ = 0, first_life_ = 0;
  std::vector<Thread> threads_;
  std::vector<Work> works_;  // of each thread's borrow
  std::vector<Fifo<Op>> wires_;
  std::vector<Fifo<Letter>> mail_;
  std::vector<Fifo<Letter>> late_;
  std::vector<Fifo<ObjectLetter>> object_mail_;
  std::vector<Fifo<Parcel>> overflows_;       // of each pair: what found its ring full
  std::vector<std::unique_ptr<Room>> rooms_;  // of each node, if memory is bounded
  std::uint64_t last_value_ = 0;              // every write stores a new one
  bool generating_ = true;
  NodeSet ended_ = 0;
  NodeId first_ended_ = kNoNode;
  std::vector<bool> blamed_;  // pages that one of them had to do with
  Counts counts_;
  Scheduler scheduler_;
};

}  // namespace dsm::sim
