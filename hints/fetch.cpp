#include "hints/fetch.h"

#include <algorithm>
#include <array>

#include "base/meta_layout.h"
#include "hints/checks.h"

namespace dsm::hints {
namespace {

constexpr std::size_t kAtOnce = 64;

// One object on its way: the machine of its borrow, and where its bytes go.
struct Fetch {
  Pin* pin;
  Copy* copy;
  proto::BorrowEvent event;
};

void run(Engine& engine, runtime::ThreadPins& me, std::span<Fetch> fetches, std::size_t bytes) {
  std::array<runtime::ObjectStep, kAtOnce> steps;
  for (std::size_t i = 0; i < fetches.size(); ++i) {
    Fetch& fetch = fetches[i];
    const std::uint64_t address = fetch.pin->address.load();
    const proto::BorrowEvent begin{.kind = proto::BorrowEventKind::kBorrow, .wish = proto::Wish::kRead};
    const auto todo = step(fetch.pin->borrow, engine.objects.place(address, bytes), begin);
    fetch.event = {proto::BorrowEventKind::kDone};
    steps[i] = {todo, {address, bytes, fetch.copy->data}, &fetch.event};
  }
  const std::uint64_t seen = engine.cache.forgotten();
  engine.objects.execute_all(std::span(steps).first(fetches.size()));
  for (Fetch& fetch : fetches) {
    const std::uint64_t address = fetch.pin->address.load();
    const auto end = step(fetch.pin->borrow, engine.objects.place(address, bytes), fetch.event);
    if (end.outcome == proto::Outcome::kSnapshot) {
      engine.cache.insert(me, *fetch.copy, address, fetch.pin->borrow.word, seen);
      count(engine.node.stats->object_miss);
    } else {
      engine.cache.retire(me, *fetch.copy);  // somebody is changing it
    }
    engine.objects.unpin(*fetch.pin);
  }
}

}  // namespace

void fetch_all(std::span<Wanted> objects, std::size_t bytes, CallSite site) {
  Engine& here = engine();
  if (here.alone) return;
  std::sort(objects.begin(), objects.end(), [](const Wanted& a, const Wanted& b) { return a.address < b.address; });
  std::array<Fetch, kAtOnce> fetches;
  std::size_t count = 0;
  NodeId home = kNoNode;
  runtime::ThreadPins& me = runtime::my_pins();
  for (const Wanted& one : objects) {
    check_object(here, one.address, bytes, site);
    const proto::ObjectPlace place = here.objects.place(one.address, bytes);
    const Copy* const copy = here.cache.find(me, one.address);
    const bool there = copy != nullptr && (proto::colour_of(copy->word.load()) == one.colour || copy->standing.load());
    if (place.home == here.node.self || place.scattered || there) continue;
    if (count == kAtOnce || (count != 0 && place.home != home)) {
      run(here, me, std::span(fetches).first(count), bytes);
      count = 0;
    }
    home = place.home;
    Pin& pin = me.take();
    pin.site = site;
    pin.borrow = {};
    here.objects.pin(pin, one.address, bytes, runtime::PinKind::kFetch);
    fetches[count++] = {&pin, &here.cache.make(me, bytes), {}};
  }
  if (count != 0) run(here, me, std::span(fetches).first(count), bytes);
}

}  // namespace dsm::hints
