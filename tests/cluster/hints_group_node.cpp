// One check of fetches ahead and of groups, run by every node of a job: hints_group_node NAME. As hints_node.
#include <dsm/hints.h>

#include <atomic>
#include <vector>

#include "tests/cluster/hints_frame.h"

namespace {

using namespace hints_test;

struct Account {
  std::uint64_t balance;
  std::uint64_t pad[7];
};

std::atomic<std::uint64_t>* mailbox(unsigned count) {
  return shared<std::atomic<std::uint64_t>>("mailbox", [=] { return block<std::atomic<std::uint64_t>>(count); });
}

// Owners of other nodes' objects, never destroyed here.
struct Borrowed {
  explicit Borrowed(std::atomic<std::uint64_t>* box, unsigned count) {
    for (unsigned i = 0; i < count; ++i) owners.push_back(dsm::own_ptr<Account>::adopt(box[i].load()));
  }
  ~Borrowed() {
    for (auto& owner : owners) owner.leak();
  }
  std::vector<dsm::own_ptr<Account>> owners;
};

// Between a prefetch and the borrow the objects change: by a mutable borrow, which changes the colour, or raw, which
// does not. What was on its way must not be taken for the object in either case.
void overtaken() {
  constexpr unsigned kObjects = 300;
  auto* box = mailbox(kObjects);
  std::vector<dsm::own_ptr<Account>> mine;
  if (dsm::node() == 0) {
    for (unsigned i = 0; i < kObjects; ++i) mine.push_back(dsm::make_owned<Account>(Account{}));
  }
  const auto show = [&] {
    for (unsigned i = 0; i < mine.size(); ++i) box[i].store(mine[i].bits());
    meet();
  };
  show();
  for (std::uint64_t round = 1; round <= 30; ++round) {
    Borrowed seen(box, kObjects);
    if (dsm::node() != 0) dsm::prefetch(std::span<const dsm::own_ptr<Account>>(seen.owners));
    meet();
    for (unsigned i = 0; i < mine.size(); ++i) {
      (i + round) % 2 == 0 ? void(mine[i].address()->balance = round) : void(dsm::borrow_mut(mine[i])->balance = round);
    }
    show();
    const Borrowed now(box, kObjects);
    for (unsigned i = 0; i < kObjects; ++i) EXPECT(dsm::borrow_shared(now.owners[i])->balance == round);
    meet();
  }
}

// Nobody changes anything: the second look at what was prefetched finds it here, whatever else is fetched meanwhile.
void ahead() {
  constexpr unsigned kObjects = 1000;
  auto* box = mailbox(kObjects);
  std::vector<dsm::own_ptr<Account>> mine;
  for (unsigned i = dsm::node(); i < kObjects; i += dsm::nodes()) {
    mine.push_back(dsm::make_owned<Account>(Account{i, {}}));
    box[i].store(mine.back().bits());
  }
  meet();
  {
    const Borrowed seen(box, kObjects);
    const std::span<const dsm::own_ptr<Account>> all(seen.owners);
    for (unsigned begin = 0; begin < kObjects; begin += 100) {
      dsm::prefetch(all.subspan(begin, 100));
      if (begin >= 100) {
        for (unsigned i = begin - 100; i < begin; ++i) EXPECT(dsm::borrow_shared(all[i])->balance == i);
      }
    }
    dsm::prefetch(all[0]);
    EXPECT(dsm::borrow_shared(all[0])->balance == 0);
  }
  meet();
}

struct Leaf {
  std::uint64_t key;
  dsm::tied_ptr<Leaf> left{}, right{};
};
struct Tree {
  std::uint64_t count = 0;
  dsm::tied_ptr<Leaf> root{};
};

bool insert(dsm::group_mut_ref<Tree>& tree, std::uint64_t key) {
  dsm::tied_ptr<Leaf>* at = &tree->root;
  while (*at) at = key < (*at)->key ? &(*at)->left : &(*at)->right;
  Leaf* const made = tree.make<Leaf>(key);
  if (made == nullptr) return false;
  *at = made;
  ++tree->count;
  return true;
}

std::uint64_t sum(const dsm::tied_ptr<Leaf>& leaf) { return leaf ? leaf->key + sum(leaf->left) + sum(leaf->right) : 0; }

// A tree that goes round all nodes, each of which adds to it; all read it in between.
void groups() {
  auto* box = mailbox(1);
  constexpr std::size_t kBytes = 16 * 1024;
  const auto adopt = [&] { return dsm::own_group<Tree>(dsm::own_ptr<std::byte[]>::adopt(box->load(), kBytes)); };
  if (dsm::node() == 0) box->store(dsm::make_group<Tree>(kBytes).block().leak());
  meet();
  std::uint64_t keys = 0, expected = 0;
  for (unsigned round = 0; round < 4 * dsm::nodes(); ++round) {
    for (std::uint64_t i = 0; i < 20; ++i) expected += (keys + i) * 2654435761 % 1000;
    if (round % dsm::nodes() == dsm::node()) {
      auto tree = adopt();
      {
        auto w = dsm::borrow_mut(tree);
        for (std::uint64_t i = 0; i < 20; ++i) EXPECT(insert(w, (keys + i) * 2654435761 % 1000));
      }
      EXPECT(node_test::is_of(tree.home(), dsm::node()));
      if (round % 3 == 0) tree = dsm::transfer(std::move(tree), (round + 1) % dsm::nodes());
      box->store(tree.block().leak());
    }
    keys += 20;
    meet();
    {
      auto tree = adopt();
      if (round % 2 == 0) dsm::prefetch(tree);
      {
        const auto r = dsm::borrow_shared(tree);
        EXPECT(r->count == keys && sum(r->root) == expected);
        EXPECT(r.used_bytes() <= kBytes);
      }
      tree.block().leak();
    }
    meet();
  }
  if (dsm::node() == 0) adopt();
  meet();
}

// What does not fit is refused, and the group is as before.
void room() {
  if (dsm::node() != 0) return meet();
  EXPECT(!dsm::make_group<Tree>(8));
  EXPECT(!dsm::make_group<Tree>((std::size_t{64} << 20) + 1));
  auto tree = dsm::make_group<Tree>(256);
  auto w = dsm::borrow_mut(tree);
  std::uint64_t keys = 0;
  while (insert(w, keys)) ++keys;
  EXPECT(keys == (256 - 16 - sizeof(Tree)) / sizeof(Leaf));
  EXPECT(w->count == keys && w.room_bytes() < sizeof(Leaf));
  EXPECT(w.make_array<std::uint64_t>(std::size_t{1} << 61) == nullptr);
  w.release();
  meet();
}

const std::map<std::string, std::function<void()>> kChecks = {
    {"overtaken", overtaken}, {"ahead", ahead}, {"groups", groups}, {"room", room}};

}  // namespace

int main(int argc, char** argv) { return run(kChecks, argc, argv); }
