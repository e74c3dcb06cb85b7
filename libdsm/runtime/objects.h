// Object mode on this node: which pages are in it, who holds them there, and how the steps of a borrow (proto/object.h)
// become one-sided operations. Copies of objects are the business of the layer above (ObjectCopies).
//
// A page's word:  | generation | 00 left, 01 open, 10 closing |
//
// 1. open or closing  =>  the page protocol has granted the page to this node with Access::kObject.
// 2. A page leaves only while no pin holds it (pins.h): it closes first, which keeps new borrows out, then the pins are
//    looked through under the entry's lock; the last borrow to end makes the protocol ask again.
// 3. A thread that borrows something else already may pin a page that is closing, and joins those who finish in one
//    that is not here (proto::Event::nested): else two threads could wait for each other's page. Others wait until the
//    page has left and come back.
// 4. A thread that waits for an object holds none of its pages, since who has the object may touch one of them raw.
//    When it is granted the object it takes them as in 3.
// 5. A thread that touches a page raw in which it has borrowed an object does not wait for itself: its pins stay, and
//    the node keeps the page until they end, for raw use now and for object work again (proto::Page::keeps). What such
//    a borrow has changed goes home when the page is here for object work again. Other threads of the node can reach
//    the object meanwhile, since pages open to a process and not to a thread.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"
#include "base/types.h"
#include "net/transport.h"
#include "proto/object.h"
#include "runtime/object_pages.h"
#include "runtime/pins.h"

namespace dsm::runtime {

struct Node;

// What object mode asks of whoever keeps copies. Any thread, signals blocked; no waiting, no allocation.
class ObjectCopies {
 public:
  virtual ~ObjectCopies() = default;
  // No borrow holds the page: give back the standing copies of its objects.
  virtual void leaving(PageId page) = 0;
  // The page is in object mode no more: no copy of its objects is valid.
  virtual void left(PageId page) = 0;
  // The home wants a standing object back: now if no borrow works with it, else when that ends.
  virtual void recalled(std::uint64_t address) = 0;
  // Copies of an object are worth nothing, nor is one that is being fetched. Of a block that was freed not even one
  // that stands; else that is the object, and stays.
  virtual void forget(std::uint64_t address, bool freed) = 0;
};

// One way, to a node's service thread.
enum class ObjectMessageKind : std::uint64_t {
  kFreed,      // to the home: somebody waits for the object, and it has changed hands
  kRecall,     // to the standing owner: give it back
  kForget,     // to the standing owner, or to all: the block was freed
  kForgotten,  // its answer, to who has freed it: nothing of the block is left here
};
struct ObjectMessage {
  ObjectMessageKind kind;
  std::uint64_t address;
};

// An object of a borrow.
struct ObjectAt {
  std::uint64_t address;
  std::uint64_t bytes;
  void* local;  // where its bytes are read to and written from
};

// A step of a borrow with its object, and where its results go.
struct ObjectStep {
  proto::BorrowActions todo;
  ObjectAt object;
  proto::BorrowEvent* event;
};

// Steps on their way.
struct PostedSteps {
  NodeId home = kNoNode;
  net::Posted chain;
  std::span<net::Op> ops;
};

class ObjectQueues;

class Objects final : public ObjectPages {
 public:
  static Result<std::unique_ptr<Objects>> create(Node& node);
  ~Objects() override;

  // The program begins to borrow, and who has its copies is there.
  void begin_borrows(ObjectCopies* copies);

  // --- for borrows: threads of the program ---
  // Publishes a pin of this thread and waits until all pages of the object are here in object mode. The pin's other
  // fields are the caller's.
  void pin(Pin& pin, std::uint64_t address, std::uint64_t bytes, PinKind kind);
  // The same if they are all here already; else false, and the pin stays free. Never waits.
  bool try_pin(Pin& pin, std::uint64_t address, std::uint64_t bytes, PinKind kind);
  // Of an object whose pages are here: the same number later, while they are here, means all along.
  std::uint64_t stamp(std::uint64_t address, std::uint64_t bytes) const;
  // Before what a borrow has changed goes home: its pages are here for object work again, if its thread has touched one
  // raw meanwhile.
  void take_back(Pin& pin);
  // The pin holds no pages any more; it stays in use as a kCopy.
  void let_pages_go(Pin& pin);
  // The pin is free.
  void unpin(Pin& pin);
  // Words of the pages of this node's slice, the first at [0]. Open, and equal before and after: open all along.
  const std::atomic<std::uint64_t>* slice_pages() const;
  static constexpr bool is_open(std::uint64_t word) { return (word & 3) == 1; }
  // Every node forgets its copy of the object; a borrow that has one keeps it until its end. Waits for their answers.
  void forget_everywhere(std::uint64_t address);

  proto::ObjectPlace place(std::uint64_t address, std::uint64_t bytes) const;
  // The node that has an object's header and queue: its memory's home, if the program runs there. Memory nodes serve
  // nobody, so there it is whose heap has the block, or the only node. kNoNode: that memory was never allocated.
  NodeId home_of(std::uint64_t address) const;
  // Steps the pin's borrow to its next outcome. May wait for other borrows; the pin holds no pages meanwhile if it is
  // about to begin.
  proto::Outcome run(Pin& pin, const ObjectAt& object, const proto::BorrowEvent& event);
  // The chains of several borrows, none of a scattered object, all of one home, as one chain: begun, and ended by the
  // same thread. `ops` and what the steps name stay where they are in between.
  PostedSteps post_all(std::span<ObjectStep> steps, std::span<net::Op> ops);
  void finish_all(std::span<ObjectStep> steps, const PostedSteps& posted);
  // Whether a copy with that header is what the home has, and no node has a newer one: one read. `now`: the header, if
  // nobody is writing.
  bool is_current(std::uint64_t address, std::uint64_t bytes, proto::Header copy, std::optional<proto::Header>& now);
  // Puts the mark into the header of a small object that this borrow has locked, before its release would.
  void begin_writing(proto::Borrow& borrow, std::uint64_t address);
  // Whether the header says that this node is the standing owner of that version.
  bool stands_here(std::uint64_t address, std::uint64_t version);
  // As run() for a give-back: never waits.
  proto::Outcome give_back(proto::Borrow& borrow, const ObjectAt& object, const proto::BorrowEvent& event);
  // Headers of this node's slice, one a granule, for the processor's own atomics; nullptr if those do not agree with
  // others'.
  std::atomic<proto::Header>* slice_headers() const;
  // A block of this node's object arenas whose life begins: for an owned pointer. nullptr if memory is used up.
  void* new_block(std::size_t bytes);
  void tell_freed(std::uint64_t address);

  // --- ObjectPages: for the page protocol, under the entry's lock ---
  void entered(PageRange pages) override;
  bool open(PageId page) const override;
  bool may_leave(PageId page, bool wanted_here) override;
  void left(PageRange pages) override;
  bool raw_touch(PageId page, std::uintptr_t address, pid_t tid) override;
  bool go_on(PageId page) const override;

  // --- for who looks for threads that wait ---
  bool has_left(PageId page) const;                                // it is not here for object work
  bool closing(std::uint64_t address, std::uint64_t bytes) const;  // somebody wants a page of these plainly

  // --- for Blocks ---
  // A block is freed, by its home or, if it is interleaved, by anybody (proto/life.h). False: its memory may be used
  // again only once other nodes have forgotten it; then it goes back by itself (Blocks::give_back).
  bool freed(void* block, std::size_t bytes);

  // --- for the service thread ---
  void on_message(NodeId from, const ObjectMessage& message);

 private:
  // Blocks that were freed and may not be used again before these nodes have forgotten something in them.
  struct WaitingFree {
    std::uint64_t object;
    std::uint64_t block;
    NodeSet nodes;
  };

  Objects(Node& node, std::atomic<std::uint64_t>* pages);
  template <typename Is>
  bool any_page(std::uint64_t address, std::uint64_t bytes, Is is) const;
  bool holds_all(std::uint64_t address, std::uint64_t bytes) const;
  void enter(Pin& pin);
  bool regain_pages(Pin& pin, PinKind kind, std::uint64_t stamp);
  bool holds_now(const Pin& pin);
  void reconsider(std::uint64_t address, std::uint64_t bytes);
  void execute(const proto::BorrowActions& todo, const ObjectAt& object, proto::BorrowEvent& event);
  std::span<net::Op> put_chain(const proto::BorrowActions& todo, const ObjectAt& object, proto::BorrowEvent& event,
                               std::span<net::Op> ops) const;
  void execute_ops(NodeId home, std::span<net::Op> ops);
  void count_ops(NodeId home, std::span<const net::Op> ops);
  void copy_scattered(const ObjectAt& object, bool write);
  template <typename Change>
  proto::Header change_header(std::uint64_t granule, Change change);
  std::uint32_t pages_with_copies(PageRange pages);
  bool alone_with(PageId page);
  void begin_life(std::uint64_t address);
  void end_lives(std::uint64_t begin, std::uint64_t end, std::uint64_t from, std::uint64_t to,
                 std::vector<WaitingFree>& waiting);
  NodeSet end_life(std::uint64_t granule, bool alone);
  void forgotten(NodeId from, std::uint64_t address);
  proto::BorrowEvent wait_in_queue(Pin& pin, const proto::Turn& turn, const ObjectAt& object);
  proto::Header await_grant(const proto::Turn& turn, const ObjectAt& object, CallSite site);
  void send(NodeId to, ObjectMessageKind kind, std::uint64_t address);
  void serve();

  Node& node_;
  std::atomic<std::uint64_t>* pages_;  // by PageId; sparse
  std::atomic<ObjectCopies*> copies_{nullptr};
  std::unique_ptr<ObjectQueues> queues_;

  std::mutex waiting_frees_lock_;
  std::vector<WaitingFree> waiting_frees_;
};

}  // namespace dsm::runtime
