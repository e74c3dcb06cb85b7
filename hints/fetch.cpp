#include "hints/fetch.h"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <new>

#include "base/no_memory.h"
#include "base/signals.h"
#include "hints/sides.h"
#include "runtime/pages.h"

namespace dsm::hints {
namespace {

constexpr std::uint64_t kMostBytesOnTheWay = std::uint64_t{4} << 20;  // unless it is one object

// One object on its way: the machine of its borrow, and where its bytes go.
struct Fetch {
  std::uint64_t address;
  std::uint64_t stamp;
  Copy* copy;
  proto::Borrow borrow;
  proto::BorrowEvent event;
};

struct Chain {
  std::size_t begin, count;  // of the fetches
  std::uint64_t seen;        // Cache::forgotten() before it
  runtime::PostedSteps posted;
};

// What one thread has on its way: ThreadPins::fetches of objects of one size.
struct Flight {
  std::size_t bytes = 0;
  std::size_t chain_count = 0;
  std::array<Fetch, kMostOnTheWay> fetches;
  std::array<runtime::ObjectStep, kMostOnTheWay> steps;
  std::array<net::Op, kMostOnTheWay * kReadOps> ops;
  std::array<Chain, kMostOnTheWay> chains;
};

// Made at a thread's first fetch of many; a later thread with the same record has it.
Flight& flight_of(ThreadPins& me) {
  if (me.flight == nullptr) {
    void* const made = ::mmap(nullptr, sizeof(Flight), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (made == MAP_FAILED) end_without_memory("a thread's fetches");
    me.flight = ::new (made) Flight;
  }
  return *static_cast<Flight*>(me.flight);
}

// Whether what is to be fetched is here, or cannot be fetched so.
bool needs_no_fetch(Engine& engine, const ThreadPins& me, const Wanted& one, std::size_t bytes) {
  const proto::ObjectPlace place = engine.objects.place(one.address, bytes);
  if (place.home == engine.node.self || place.scattered) return true;
  const Copy* const copy = engine.cache.find(me, one.address);
  return copy != nullptr && (proto::colour_of(copy->word.load()) == one.colour || copy->standing.load());
}

// The object's pages are in object mode now, and that is noted.
void add(Engine& engine, ThreadPins& me, Flight& flight, std::uint64_t address, CallSite site) {
  Pin& pin = take(me, site);
  engine.objects.pin(pin, address, flight.bytes, PinKind::kFetch);
  const std::uint64_t stamp = engine.objects.stamp(address, flight.bytes);
  engine.objects.unpin(pin);
  const std::size_t at = me.fetches++;
  Fetch& fetch = flight.fetches[at] = {address, stamp, &engine.cache.make(me, flight.bytes), {}, {}};
  const ObjectAt object{address, flight.bytes, fetch.copy->data};
  flight.steps[at] = begin_read(engine, fetch.borrow, object, nullptr, fetch.event);
}

void post(Engine& engine, Flight& flight, std::size_t begin, std::size_t end) {
  if (begin == end) return;
  Chain& chain = flight.chains[flight.chain_count++];
  chain = {begin, end - begin, engine.cache.forgotten(), {}};
  chain.posted = engine.objects.post_all(std::span(flight.steps).subspan(begin, end - begin),
                                         std::span(flight.ops).subspan(begin * kReadOps));
}

// What has arrived is the object if its pages are in object mode now, and have been since before it was fetched.
void arrive(Engine& engine, ThreadPins& me, Fetch& fetch, std::size_t bytes, std::uint64_t seen) {
  const Outcome outcome = end_read(engine, fetch.borrow, fetch.address, bytes, fetch.event);
  Pin& pin = take(me, {});
  if (outcome != Outcome::kSnapshot || !engine.objects.try_pin(pin, fetch.address, bytes, PinKind::kFetch)) {
    return engine.cache.retire(me, *fetch.copy);
  }
  if (engine.objects.stamp(fetch.address, bytes) == fetch.stamp) {
    engine.cache.insert(me, *fetch.copy, fetch.address, fetch.borrow.word, seen);
    count(engine.node.stats->object_miss);
  } else {
    engine.cache.retire(me, *fetch.copy);
  }
  engine.objects.unpin(pin);
}

}  // namespace

void end_fetches(Engine& engine, ThreadPins& me) {
  if (me.fetches == 0) return;
  Flight& flight = flight_of(me);
  for (const Chain& chain : std::span(flight.chains).first(flight.chain_count)) {
    engine.objects.finish_all(std::span(flight.steps).subspan(chain.begin, chain.count), chain.posted);
    for (Fetch& fetch : std::span(flight.fetches).subspan(chain.begin, chain.count)) {
      arrive(engine, me, fetch, flight.bytes, chain.seen);
    }
  }
  me.fetches = flight.chain_count = 0;
}

namespace {

// Borrows of the only node work in place, so what may be missing is pages of memory nodes.
void ask_for_pages(Engine& engine, std::span<const Wanted> objects, std::size_t bytes) {
  runtime::Node& node = engine.node;
  if (node.local == nullptr) return;
  const SignalsBlocked blocked;
  for (const Wanted& one : objects) {
    node.pages->hint(node.geometry.pages_of(one.address, bytes),
                     {.kind = proto::EventKind::kPrefetch, .access = Access::kRead});
  }
}

}  // namespace

void begin_fetches(std::span<Wanted> objects, std::size_t bytes, CallSite site) {
  Engine& here = engine();
  if (here.alone) return ask_for_pages(here, objects, bytes);
  ThreadPins& me = runtime::my_pins();
  end_fetches(here, me);
  Flight& flight = flight_of(me);
  flight.bytes = bytes;
  const std::size_t most =
      std::clamp<std::size_t>(bytes == 0 ? kMostOnTheWay : kMostBytesOnTheWay / bytes, 1, kMostOnTheWay);
  std::sort(objects.begin(), objects.end(), [](const Wanted& a, const Wanted& b) { return a.address < b.address; });
  std::size_t chain_begin = 0;
  NodeId home = kNoNode;
  for (const Wanted& one : objects) {
    check_object(here, one.address, bytes, site);
    if (needs_no_fetch(here, me, one, bytes)) continue;
    const NodeId its_home = here.objects.place(one.address, bytes).home;
    if (its_home != home || me.fetches - chain_begin == kMostInChain || me.fetches == most) {
      post(here, flight, chain_begin, me.fetches);
      if (me.fetches == most) end_fetches(here, me);
      chain_begin = me.fetches;
      home = its_home;
    }
    add(here, me, flight, one.address, site);
  }
  post(here, flight, chain_begin, me.fetches);
}

}  // namespace dsm::hints
