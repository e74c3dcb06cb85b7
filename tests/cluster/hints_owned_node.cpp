// One check of owned objects, run by every node of a job: hints_owned_node NAME. As hints_node.
#include <dsm/hints.h>

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include "hints/borrow.h"
#include "tests/cluster/hints_frame.h"

namespace {

using namespace hints_test;

struct Account {
  std::uint64_t balance;
  std::uint64_t twice;
  std::uint64_t pad[6];
};

// Where nodes leave owners for each other, as 8 bytes.
std::atomic<std::uint64_t>* mailbox(unsigned count = 1) {
  return shared<std::atomic<std::uint64_t>>("mailbox", [=] { return block<std::atomic<std::uint64_t>>(count); });
}

// A reader's view of an owner that somebody else has: never destroyed here.
struct Borrowed {
  explicit Borrowed(std::uint64_t bits) : owner(dsm::own_ptr<Account>::adopt(bits)) {}
  ~Borrowed() { owner.leak(); }
  dsm::own_ptr<Account> owner;
};

// Node 0 changes its object; the others read it under the colour that it had last: the bytes and one look behind them.
void colours() {
  auto* box = mailbox();
  const std::atomic<std::uint64_t>& reads = dsm::hints::engine().node.stats->op_read;
  std::uint64_t least = ~std::uint64_t{0};  // the service thread may read something meanwhile
  dsm::own_ptr<Account> owner;
  if (dsm::node() == 0) owner = dsm::make_owned<Account>(Account{});
  for (std::uint64_t round = 1; round <= 200; ++round) {
    if (dsm::node() == 0) {
      dsm::borrow_mut(owner)->balance = round;
      box->store(owner.bits());
    }
    meet();
    {
      const Borrowed seen(box->load());
      const std::uint64_t before = reads;
      for (int again = 0; again < 3; ++again) EXPECT(dsm::borrow_shared(seen.owner)->balance == round);
      least = std::min(least, reads - before);
    }
    meet();
  }
  EXPECT(least == (dsm::node() == 0 ? 0U : 2U));
}

// 2^16 + 1 changes while the other nodes hold a copy of each colour: no old copy is taken for the new object.
void every_colour() {
  auto* box = mailbox(2);
  constexpr std::uint64_t kWrites = (1U << 16) + 1;
  if (dsm::node() == 0) {
    auto owner = dsm::make_owned<Account>(Account{});
    for (std::uint64_t i = 1; i <= kWrites; ++i) {
      {
        auto w = dsm::borrow_mut(owner);
        w->balance = i;
        w->twice = owner.bits() == 0 ? 0 : 2 * i;
      }
      box[0].store(owner.bits());
      if (i % 4096 == 1) {  // the first and the last write have the same colour
        box[1].store(i);
        meet();
        meet();
      }
    }
    meet();
    return;
  }
  for (;;) {
    meet();
    const std::uint64_t written = box[1].load();
    const Borrowed seen(box[0].load());
    EXPECT(dsm::borrow_shared(seen.owner)->balance == written);
    meet();
    if (written == kWrites) break;
  }
  meet();
}

// A block is freed and used again while other nodes have copies of what it was.
void reuse() {
  auto* box = mailbox();
  for (std::uint64_t round = 0; round < 500; ++round) {
    dsm::own_ptr<Account> owner;
    if (dsm::node() == 0) {
      owner = dsm::make_owned<Account>(Account{round, 2 * round, {}});
      box->store(owner.bits());
    }
    meet();
    {
      const Borrowed seen(box->load());
      auto r = dsm::borrow_shared(seen.owner);
      EXPECT(r->balance == round && r->twice == 2 * round);
    }
    meet();
  }
}

// The same by address: plain blocks, with and without a standing owner.
void reuse_by_address() {
  auto* box = mailbox();
  for (std::uint64_t round = 1; round <= 200; ++round) {
    Account* mine = nullptr;
    if (dsm::node() == 0) {
      mine = static_cast<Account*>(dsm::alloc(sizeof(Account), 64));
      dsm::borrow_mut(mine)->balance = round;
      if (round % 3 == 0) dsm::transfer(mine, dsm::nodes() - 1);
      box->store(reinterpret_cast<std::uint64_t>(mine));
    }
    meet();
    auto* account = reinterpret_cast<Account*>(box->load());
    EXPECT(dsm::borrow_shared(account)->balance == round);
    meet();
    if (round % 3 == 0 && dsm::node() == dsm::nodes() - 1) dsm::borrow_mut(account)->twice = round;
    meet();
    if (mine != nullptr) dsm::free(mine);
  }
}

// The life of a block goes on until a colour comes again that others have a copy of; it is the free of a block that has
// the first of all colours next.
void lives_of_every_colour() {
  auto* box = mailbox(2);
  const auto colour_of = [](std::uint64_t bits) { return static_cast<std::uint16_t>(bits >> 48); };
  dsm::own_ptr<Account> owner;
  if (dsm::node() == 0) {
    owner = dsm::make_owned<Account>(Account{});
    for (unsigned i = 0; i < 100; ++i) dsm::borrow_mut(owner)->balance = 1;
    box[0].store(owner.bits());
  }
  meet();
  const std::uint64_t first = box[0].load();
  {
    const Borrowed seen(first);
    EXPECT(dsm::borrow_shared(seen.owner)->balance == 1);
  }
  meet();
  std::vector<dsm::own_ptr<Account>> elsewhere;  // the block may be used again only once the others have forgotten it
  if (dsm::node() == 0) {
    const std::uint64_t address = dsm::detail::address_of_bits(first);
    dsm::borrow_mut(owner)->balance = 3;
    while (owner.bits() != first) {
      while (colour_of(owner.bits()) > 0xfff0 && colour_of(owner.bits()) != 0xffff) dsm::borrow_mut(owner)->twice = 0;
      if (static_cast<std::uint16_t>(colour_of(first) - colour_of(owner.bits())) < 8) {
        dsm::borrow_mut(owner)->balance = 3;
        continue;
      }
      owner.reset();
      for (;;) {
        owner = dsm::make_owned<Account>(Account{3, 4, {}});
        if (dsm::detail::address_of_bits(owner.bits()) == address) break;
        elsewhere.push_back(std::move(owner));
        std::this_thread::yield();
      }
    }
  }
  meet();
  {
    const Borrowed seen(first);
    EXPECT(dsm::borrow_shared(seen.owner)->balance == 3);
  }
  meet();
}

// The owner goes round all nodes; each changes the object, which moves to it.
void moves() {
  auto* box = mailbox();
  if (dsm::node() == 0) {
    auto owner = dsm::make_owned<Account>(Account{});
    box->store(owner.leak());
  }
  meet();
  for (unsigned round = 0; round < 5 * dsm::nodes(); ++round) {
    if (round % dsm::nodes() == dsm::node()) {
      auto owner = dsm::own_ptr<Account>::adopt(box->exchange(0));
      {
        auto w = dsm::borrow_mut(owner);
        EXPECT(w->balance == round);
        w->balance = round + 1;
      }
      EXPECT(node_test::is_of(owner.home(), dsm::node()));
      if (round % 3 == 0) {
        owner = dsm::transfer(std::move(owner), (round + 1) % dsm::nodes());
        EXPECT(node_test::is_of(owner.home(), (round + 1) % dsm::nodes()));
      }
      box->store(owner.leak());
    }
    meet();
    {
      const Borrowed seen(box->load());
      EXPECT(dsm::borrow_shared(seen.owner)->balance == round + 1);
    }
    meet();
  }
  if (dsm::node() == 0) dsm::own_ptr<Account>::adopt(box->load());
  meet();
}

}  // namespace

// A list of owned nodes: the owner of the next one lies in the object.
struct Item {
  std::uint64_t value;
  dsm::own_ptr<Item> next;
};
template <>
inline constexpr bool dsm::travels<Item> = true;

namespace {

void nested() {
  auto* box = mailbox();
  constexpr std::uint64_t kItems = 20;
  if (dsm::node() == 0) {
    dsm::own_ptr<Item> head;
    for (std::uint64_t i = kItems; i-- > 0;) {
      auto item = dsm::make_owned<Item>(i, std::move(head));
      head = std::move(item);
    }
    box->store(head.leak());
  }
  meet();
  for (unsigned turn = 0; turn < dsm::nodes(); ++turn) {
    if (turn == dsm::node()) {
      auto head = dsm::own_ptr<Item>::adopt(box->load());
      std::uint64_t sum = 0, count = 0;
      for (auto item = dsm::borrow_shared(head);; item = dsm::borrow_shared(item->next)) {
        sum += item->value;
        ++count;
        if (!item->next) break;
      }
      EXPECT(count == kItems && sum == kItems * (kItems - 1) / 2 + turn * 2);
      {
        auto first = dsm::borrow_mut(head);
        first->value += 1;
        dsm::borrow_mut(first->next)->value += 1;  // the nested owner changes within the borrow
      }
      if (turn + 1 != dsm::nodes()) {
        box->store(head.leak());
      }  // else the whole list is destroyed here
    }
    meet();
  }
}

void arrays() {
  auto* box = mailbox(2);
  constexpr std::size_t kCount = 5000;
  if (dsm::node() == 0) {
    const auto zeros = dsm::make_owned<std::uint64_t[]>(kCount);
    for (const std::uint64_t word : dsm::borrow_shared(zeros)) EXPECT(word == 0);
    auto array = dsm::make_owned_for_overwrite<std::uint64_t[]>(kCount);
    {
      auto w = dsm::borrow_mut(array);
      for (std::size_t i = 0; i < kCount; ++i) w[i] = i;
    }
    box[1].store(array.size());
    box[0].store(array.leak());
  }
  meet();
  for (unsigned turn = 0; turn < dsm::nodes(); ++turn) {
    if (turn == dsm::node()) {
      auto array = dsm::own_ptr<std::uint64_t[]>::adopt(box[0].load(), box[1].load());
      auto r = dsm::borrow_shared(array);
      EXPECT(r.size() == kCount);
      for (std::size_t i = 0; i < kCount; ++i) EXPECT(r.span()[i] == i + turn);
      r.release();
      {
        auto w = dsm::borrow_mut(array);
        for (std::uint64_t& value : w) ++value;
      }
      box[0].store(array.leak());
    }
    meet();
  }
}

// From 8 bytes to 64 MiB, on every node, by address and owned. One of several pages begins on a page, wherever it is.
bool is_on_as_few_pages_as_can_be(const void* object, std::size_t bytes) {
  return bytes < 4 * 4096 || reinterpret_cast<std::uintptr_t>(object) % 4096 == 0;
}
void sizes() {
  auto* box = mailbox();
  for (std::size_t bytes :
       {8UL, 24UL, 1000UL, 1024UL, 1025UL, 4096UL, 10'000UL, 1UL << 15, 1UL << 20, 3'000'001UL, 64UL << 20}) {
    if (bytes == 64UL << 20 && dsm::nodes() > 2) continue;
    if (dsm::node() == 0) {
      auto array = dsm::make_owned<unsigned char[]>(bytes);
      EXPECT(array);
      box->store(array.leak());
    }
    meet();
    for (unsigned turn = 0; turn < dsm::nodes(); ++turn) {
      if (turn == dsm::node()) {
        auto array = dsm::own_ptr<unsigned char[]>::adopt(box->load(), bytes);
        auto* raw = array.address();
        {
          auto r = dsm::borrow_shared(std::span<const unsigned char>(raw, bytes));
          EXPECT(r[0] == 2 * turn && r[bytes - 1] == 2 * turn && r[bytes / 2] == 2 * turn);
        }
        {
          auto w = dsm::borrow_mut(std::span<unsigned char>(raw, bytes));
          std::memset(w.get(), static_cast<int>(2 * turn + 1), bytes);
        }
        {
          auto w = dsm::borrow_mut(array);
          EXPECT(w[0] == 2 * turn + 1 && w[bytes - 1] == 2 * turn + 1);
          std::memset(w.get(), static_cast<int>(2 * turn + 2), bytes);
        }
        EXPECT(is_on_as_few_pages_as_can_be(array.address(), bytes));
        box->store(array.leak());
      }
      meet();
    }
    if (dsm::node() == dsm::nodes() - 1) dsm::own_ptr<unsigned char[]>::adopt(box->load(), bytes).reset();
    meet();
  }
}

// Many objects at once, and again from the cache.
void ranges() {
  auto* box = mailbox(300);
  for (unsigned i = dsm::node(); i < 300; i += dsm::nodes()) {
    box[i].store(dsm::make_owned<Account>(Account{i, 2 * i, {}}).leak());
  }
  meet();
  std::vector<dsm::own_ptr<Account>> owners;
  for (unsigned i = 0; i < 300; ++i) owners.push_back(dsm::own_ptr<Account>::adopt(box[i].load()));
  for (int again = 0; again < 2; ++again) {
    const auto refs = dsm::borrow_shared(std::span<const dsm::own_ptr<Account>>(owners));
    for (unsigned i = 0; i < 300; ++i) EXPECT(refs[i]->balance == i && refs[i]->twice == 2 * i);
  }
  for (auto& owner : owners) owner.leak();
  meet();
}

const std::map<std::string, std::function<void()>> kChecks = {{"colours", colours},
                                                              {"every_colour", every_colour},
                                                              {"reuse", reuse},
                                                              {"reuse_by_address", reuse_by_address},
                                                              {"lives_of_every_colour", lives_of_every_colour},
                                                              {"moves", moves},
                                                              {"nested", nested},
                                                              {"arrays", arrays},
                                                              {"sizes", sizes},
                                                              {"ranges", ranges}};

}  // namespace

int main(int argc, char** argv) { return run(kChecks, argc, argv); }
