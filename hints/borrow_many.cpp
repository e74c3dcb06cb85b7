#include "hints/borrow_many.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <vector>

#include "hints/fetch.h"
#include "hints/sides.h"

namespace dsm::hints {
namespace {

// One of the objects that are homed elsewhere.
struct Look {
  std::uint64_t address;
  std::size_t index;
  Pin* pin = nullptr;    // of a chain in flight
  Copy* copy = nullptr;  // the cache's, or one that is being filled
  bool fetching = false;
  BorrowEvent event{};
};

// Begins with what the cache has, if it has something and `fetch` does not ask for it anew. True: it needs no look.
bool begin(Engine& engine, ThreadPins& me, Look& look, std::size_t bytes, bool fetch, CallSite site) {
  Pin& pin = *(look.pin = &take(me, site));
  pin.borrow = {};
  look.copy = fetch ? nullptr : keep_copy(engine, me, pin, look.address, bytes);
  look.fetching = look.copy == nullptr;
  if (look.fetching) {
    check_own_borrows(look.address, bytes, false, site);
    engine.objects.pin(pin, look.address, bytes, PinKind::kFetch);
    look.copy = &engine.cache.make(me, bytes);
    return false;
  }
  pin.data.store(look.copy->data, std::memory_order_relaxed);
  Cache::note_use(*look.copy);
  return look.copy->standing.load(std::memory_order_relaxed);
}

bool keep_fetched(Engine& engine, ThreadPins& me, Look& look, Outcome outcome, std::uint64_t seen) {
  Pin& pin = *look.pin;
  // A node's own standing hold may be older than what is kept here, or just given back: shared_elsewhere() tells.
  const bool good = outcome == Outcome::kSnapshot && proto::hold_of(pin.borrow.word) != proto::Hold::kStanding;
  if (!good) {
    engine.cache.retire(me, *look.copy);
    engine.objects.unpin(pin);
    return false;
  }
  pin.copy.store(look.copy);
  engine.cache.insert(me, *look.copy, look.address, pin.borrow.word, seen);
  engine.objects.let_pages_go(pin);
  pin.data.store(look.copy->data);
  count(engine.node.stats->object_miss);
  return true;
}

bool keep_current(Engine& engine, Look& look, Outcome outcome) {
  Pin& pin = *look.pin;
  const bool good = outcome == Outcome::kHit && proto::hold_of(pin.borrow.word) != proto::Hold::kStanding &&
                    look.copy->address.load() == look.address;
  if (good) {
    count(engine.node.stats->object_revalidate);
    return true;
  }
  pin.copy.store(nullptr);
  pin.address.store(0);
  return false;
}

// One chain for all, which have one home. Those whose borrow it did not settle lose their pin.
void ask_home(Engine& engine, ThreadPins& me, std::span<Look*> looks, std::size_t bytes) {
  std::array<runtime::ObjectStep, kMostInChain> steps;
  for (std::size_t i = 0; i < looks.size(); ++i) {
    Look& look = *looks[i];
    steps[i] = begin_read(engine, look.pin->borrow, {look.address, bytes, look.copy->data},
                          look.fetching ? nullptr : look.copy, look.event);
  }
  const std::uint64_t seen = engine.cache.forgotten();
  std::array<net::Op, kMostInChain * kReadOps> ops;
  const auto chain = std::span(steps).first(looks.size());
  engine.objects.finish_all(chain, engine.objects.post_all(chain, ops));
  for (Look* look : looks) {
    const Outcome outcome = end_read(engine, look->pin->borrow, look->address, bytes, look->event);
    const bool kept =
        look->fetching ? keep_fetched(engine, me, *look, outcome, seen) : keep_current(engine, *look, outcome);
    if (!kept) look->pin = nullptr;
  }
}

// Looks for all that have no pin yet, sorted by address and so by home.
void pass(Engine& engine, ThreadPins& me, std::span<Look> looks, std::size_t bytes, bool fetch, CallSite site) {
  std::array<Look*, kMostInChain> chain;
  std::size_t count = 0;
  NodeId home = kNoNode;
  for (Look& look : looks) {
    if (look.pin != nullptr) continue;
    const proto::ObjectPlace place = engine.objects.place(look.address, bytes);
    if (place.scattered) continue;
    if (count == kMostInChain || (count != 0 && place.home != home)) {
      ask_home(engine, me, std::span(chain).first(count), bytes);
      count = 0;
    }
    home = place.home;
    if (!begin(engine, me, look, bytes, fetch, site)) chain[count++] = &look;
  }
  if (count != 0) ask_home(engine, me, std::span(chain).first(count), bytes);
}

}  // namespace

void borrow_shared_many(std::span<const void* const> objects, std::size_t bytes, std::span<Pin*> pins, CallSite site) {
  Engine& here = engine();
  ThreadPins& me = runtime::my_pins();
  end_fetches(here, me);
  std::vector<Look> looks;
  looks.reserve(objects.size());
  for (std::size_t i = 0; i < objects.size(); ++i) {
    const auto address = reinterpret_cast<std::uint64_t>(objects[i]);
    check_object(here, address, bytes, site);
    if (address - here.slice_begin < here.slice_bytes || here.check || here.alone) {
      pins[i] = &borrow_shared(objects[i], bytes, site);
    } else {
      looks.push_back({address, i});
    }
  }
  const auto by_address = [](const Look& a, const Look& b) { return a.address < b.address; };
  std::sort(looks.begin(), looks.end(), by_address);
  const auto same = [](const Look& a, const Look& b) { return a.address == b.address; };
  std::vector<Look> once;
  once.reserve(looks.size());
  std::unique_copy(looks.begin(), looks.end(), std::back_inserter(once), same);
  pass(here, me, once, bytes, false, site);
  pass(here, me, once, bytes, true, site);  // what has changed since it was copied
  for (const Look& look : once) pins[look.index] = look.pin;
  for (const Look& look : once) {  // what somebody changes, or what stands elsewhere
    if (look.pin == nullptr) pins[look.index] = &borrow_shared(objects[look.index], bytes, site);
  }
  for (std::size_t i = 1; i < looks.size(); ++i) {  // again the object before: its copy has just been looked at
    if (looks[i].address != looks[i - 1].address) continue;
    const auto* const copy = copy_of(*pins[looks[i - 1].index]);
    const std::uint32_t colour = copy == nullptr ? kNoColour : proto::colour_of(copy->word.load());
    pins[looks[i].index] = &borrow_shared(objects[looks[i].index], bytes, site, colour);
  }
}

}  // namespace dsm::hints
