// One check of object mode, run by every node of a job: hints_node NAME. Exit status 0: right. hints_test starts it
// under dsmrun, in every engine.
#include <dsm/hints.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/cluster/hints_frame.h"

namespace {

using namespace hints_test;

struct Account {
  std::uint64_t balance;
  std::uint64_t twice;
  std::uint64_t pad[6];
};
static_assert(sizeof(Account) == 64);

// Every node in turn changes objects of node 0 by hints; all see it by hints and raw.
void values() {
  auto* accounts = shared<Account>("accounts", [] { return block<Account>(64); });
  for (unsigned round = 0; round < 3 * dsm::nodes(); ++round) {
    if (round % dsm::nodes() == dsm::node()) {
      for (unsigned i = 0; i < 64; ++i) {
        auto w = dsm::borrow_mut(&accounts[i]);
        EXPECT(w->balance == round && w->twice == 2 * round);
        w->balance = round + 1;
        w->twice = 2 * (round + 1);
      }
    }
    meet();
    for (unsigned i = 0; i < 64; ++i) {
      auto r = dsm::borrow_shared(&accounts[i]);
      EXPECT(r->balance == round + 1 && r->twice == 2 * (round + 1));
    }
    meet();
  }
}

// Raw and hinted access by turns: each sees what the other did.
void mixed() {
  auto* accounts = shared<Account>("accounts", [] { return block<Account>(64); });
  for (unsigned round = 0; round < 4 * dsm::nodes(); ++round) {
    if (round % dsm::nodes() == dsm::node()) {
      for (unsigned i = 0; i < 64; ++i) {
        if ((round / dsm::nodes() + i) % 2 == 0) {
          accounts[i].balance = round + 1;
        } else {
          dsm::borrow_mut(&accounts[i])->balance = round + 1;
        }
      }
    }
    meet();
    for (unsigned i = 0; i < 64; ++i) {
      if (i % 3 == 0) {
        EXPECT(accounts[i].balance == round + 1);
      } else {
        EXPECT(dsm::borrow_shared(&accounts[i])->balance == round + 1);
      }
    }
    meet();
  }
}

// All threads of all nodes add to the same objects, by hints and raw: nothing is lost, and every snapshot is whole.
void exclusion() {
  constexpr unsigned kThreads = 2, kTimes = 300, kObjects = 3;
  auto* accounts = shared<Account>("accounts", [] { return block<Account>(kObjects); });
  auto* word = shared<std::atomic<std::uint64_t>>("word", [] { return block<std::atomic<std::uint64_t>>(1); });
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < kThreads; ++t) {
    threads.emplace_back([=] {
      for (unsigned i = 0; i < kTimes; ++i) {
        Account* const account = &accounts[(i + t) % kObjects];
        {
          auto w = dsm::borrow_mut(account);
          ++w->balance;
          w->twice = 2 * w->balance;
        }
        auto r = dsm::borrow_shared(account);
        EXPECT(r->twice == 2 * r->balance);
        if (i % 64 == 0) word->fetch_add(1);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  meet();
  std::uint64_t sum = 0;
  for (unsigned i = 0; i < kObjects; ++i) sum += dsm::borrow_shared(&accounts[i])->balance;
  EXPECT(sum == std::uint64_t{kThreads} * kTimes * dsm::nodes());
  EXPECT(accounts[0].balance + accounts[1].balance + accounts[2].balance == sum);
  meet();
}

// As much as a look in place may take.
struct Wide {
  std::uint64_t words[128];
};

// The first and the last word, some time apart.
std::pair<std::uint64_t, std::uint64_t> ends_of(const Wide& wide) noexcept {
  const std::uint64_t first = wide.words[0];
  for (unsigned turn = 0; turn < 20; ++turn) __builtin_ia32_pause();
  return {first, *const_cast<const volatile std::uint64_t*>(&wide.words[127])};
}

// Looks in place while all nodes change the objects by borrows: each look is of one moment, and what was there once is
// not seen to go away.
void peeks() {
  constexpr unsigned kTimes = 20000, kObjects = 2;
  auto* objects = shared<Wide>("objects", [] { return block<Wide>(kObjects); });
  std::atomic<bool> done{false};
  std::thread looker([&] {
    std::uint64_t last[kObjects]{};
    for (unsigned i = 0; !done.load(); i = (i + 1) % kObjects) {
      const auto [first, final] = dsm::peek(&objects[i], ends_of);
      EXPECT(first == final && first >= last[i]);
      last[i] = first;
    }
  });
  for (unsigned i = 0; i < (dsm::node() == 0 ? kTimes : kTimes / 50); ++i) {
    auto w = dsm::borrow_mut(&objects[i % kObjects]);
    const std::uint64_t next = w->words[0] + 1;
    for (std::uint64_t& word : w->words) word = next;
  }
  meet();
  done.store(true);
  looker.join();
  meet();
}

// A look sees what was changed where the object stands, and plainly, which takes the page from object work.
void peeks_elsewhere() {
  auto* accounts = shared<Account>("accounts", [] { return block<Account>(2); });
  const auto balance = [&](unsigned i) {
    return dsm::peek(&accounts[i], [](const Account& a) noexcept { return a.balance; });
  };
  for (unsigned round = 1; round <= 3 * dsm::nodes(); ++round) {
    if (round % dsm::nodes() == dsm::node()) {
      dsm::transfer(&accounts[0], dsm::node());
      dsm::borrow_mut(&accounts[0])->balance = round;
      if (round % 2 == 0) accounts[1].balance = round;
    }
    meet();
    if ((round + 1) % dsm::nodes() == dsm::node()) EXPECT(balance(0) == round);
    EXPECT(balance(1) == round / 2 * 2);
    meet();
  }
}

// Many objects of all nodes at once, some of them twice: as current and as whole as a borrow of each, whether there is
// a copy or not, while others change them, and what has been borrowed stays as it was.
void many() {
  constexpr unsigned kObjects = 4096, kWanted = 150;
  auto* accounts = shared<Account>("accounts", [] { return block<Account>(kObjects, dsm::interleaved); });
  std::vector<const Account*> wanted;
  for (unsigned i = 0; i < kWanted; ++i) wanted.push_back(&accounts[i * 977 % kObjects]);
  wanted.push_back(wanted[3]);
  wanted.push_back(wanted[3]);
  const auto change = [&](unsigned i) {
    auto w = dsm::borrow_mut(const_cast<Account*>(wanted[i]));
    ++w->balance;
    w->twice = 2 * w->balance;
  };
  for (unsigned round = 0; round < 3 * dsm::nodes(); ++round) {
    const bool writes = round % dsm::nodes() == dsm::node();
    for (unsigned i = round % 2; writes && i < kWanted; i += 2) change(i);
    meet();
    auto seen = dsm::borrow_shared_each(std::span<const Account* const>(wanted));
    EXPECT(seen.size() == wanted.size());
    for (unsigned i = 0; i < kWanted; ++i) EXPECT(seen[i]->balance == (round + 2 - i % 2) / 2);
    for (unsigned i = kWanted; i < wanted.size(); ++i) EXPECT(seen[i]->balance == seen[3]->balance);
    meet();
    for (unsigned times = 0; times < 20; ++times) {
      if (writes) change(times % 2 + 1);
      for (const auto& one : dsm::borrow_shared_each(std::span<const Account* const>(wanted).first(8))) {
        EXPECT(one->twice == 2 * one->balance);
      }
    }
    meet();
    for (unsigned i = 3; i < kWanted; ++i) EXPECT(seen[i]->balance == (round + 2 - i % 2) / 2);
    seen.clear();
    for (unsigned i = 1; writes && i < 3; ++i) dsm::borrow_mut(const_cast<Account*>(wanted[i]))->balance -= 10;
    for (unsigned i = 1; writes && i < 3; ++i) EXPECT(wanted[i]->balance == (round + 2 - i % 2) / 2);  // raw
    for (unsigned i = 1; writes && i < 3; ++i) {
      auto w = dsm::borrow_mut(const_cast<Account*>(wanted[i]));
      w->twice = 2 * w->balance;
    }
    meet();
  }
}

struct Large {
  std::uint64_t words[1000];
};

// One node changes a large and a small object over and over, at the home and elsewhere; nobody ever sees half of it.
void snapshots() {
  auto* large = shared<Large>("large", [] { return block<Large>(1); });
  auto* small = shared<Account>("small", [] { return block<Account>(1); });
  for (unsigned writer = 0; writer < dsm::nodes(); ++writer) {
    if (writer == dsm::node()) {
      for (unsigned i = 0; i < 300; ++i) {
        auto w = dsm::borrow_mut(large);
        for (std::uint64_t& word : w->words) ++word;
        auto v = dsm::borrow_mut(small);
        for (std::uint64_t& word : v->pad) ++word;
      }
    } else {
      for (unsigned i = 0; i < 300; ++i) {
        auto r = dsm::borrow_shared(large);
        for (const std::uint64_t& word : r->words) EXPECT(word == r->words[0]);
        auto s = dsm::borrow_shared(small);
        for (const std::uint64_t& word : s->pad) EXPECT(word == s->pad[0]);
      }
    }
    meet();
    EXPECT(dsm::borrow_shared(large)->words[999] == 300 * (writer + 1));
    meet();
  }
}

// Objects get standing owners, which change them without a word to anybody; the others get them back.
void transfers() {
  auto* accounts = shared<Account>("accounts", [] { return block<Account>(8); });
  std::uint64_t value = 0;
  for (unsigned round = 0; round < 20; ++round) {
    const unsigned owner = (round + 1) % dsm::nodes();
    if (round % dsm::nodes() == dsm::node()) {
      for (unsigned i = 0; i < 8; ++i) dsm::transfer(&accounts[i], owner);
    }
    meet();
    if (owner == dsm::node()) {
      for (unsigned again = 0; again < 5; ++again) {
        for (unsigned i = 0; i < 8; ++i) {
          EXPECT(dsm::borrow_shared(&accounts[i])->balance == value + again);
          ++dsm::borrow_mut(&accounts[i])->balance;
        }
      }
    }
    value += 5;
    meet();
    const unsigned reader = (round + 2) % dsm::nodes();
    for (unsigned i = 0; i < 8; ++i) {
      if (i % 2 == 0 && reader == dsm::node()) EXPECT(accounts[i].balance == value);  // raw
      EXPECT(dsm::borrow_shared(&accounts[i])->balance == value);
    }
    meet();
  }
}

// Memory whose pages have several homes.
void interleaved() {
  constexpr std::size_t kWords = 40'000;
  auto* words = static_cast<std::uint64_t*>(dsm::alloc_collective(kWords * sizeof(std::uint64_t)));
  const std::span<std::uint64_t> all(words, kWords);
  for (unsigned round = 0; round < 2 * dsm::nodes(); ++round) {
    if (round % dsm::nodes() == dsm::node()) {
      auto w = dsm::borrow_mut(all);
      for (std::uint64_t& word : w) EXPECT(word++ == round);
    }
    meet();
    auto r = dsm::borrow_shared(std::span<const std::uint64_t>(all));
    for (const std::uint64_t word : r) EXPECT(word == round + 1);
    r.release();
    if (round % 2 == 0) EXPECT(words[round] == round + 1);
    meet();
  }
}

// A thread touches a page raw in which it has borrowed an object: the borrow goes on, and nothing is lost.
void own_page_raw() {
  auto* accounts = shared<Account>("accounts", [] { return block<Account>(64); });
  for (unsigned round = 0; round < 3 * dsm::nodes(); ++round) {
    if (round % dsm::nodes() == dsm::node()) {
      auto w = dsm::borrow_mut(&accounts[1]);
      EXPECT(w->balance == round);
      accounts[2].balance = round + 1;
      EXPECT(accounts[3].balance == 0);
      w->balance = round + 1;
    }
    meet();
    EXPECT(dsm::borrow_shared(&accounts[2])->balance == round + 1);
    EXPECT(accounts[1].balance == round + 1);
    meet();
  }
}

// Objects that begin in the same 64 bytes, of several nodes, with and without standing owners: none loses a change.
void close_together() {
  constexpr unsigned kWords = 32;
  auto* words = shared<std::uint64_t>("words", [] { return block<std::uint64_t>(kWords); });
  for (unsigned round = 0; round < 40; ++round) {
    for (unsigned i = 0; i < kWords; ++i) {
      if (i % dsm::nodes() != dsm::node()) continue;
      if ((round + i) % 3 == 0) dsm::transfer(&words[i], (round + i) % dsm::nodes());
      ++*dsm::borrow_mut(&words[i]);
    }
    if (round % 8 == 7) {
      meet();
      for (unsigned i = 0; i < kWords; ++i) EXPECT(*dsm::borrow_shared(&words[i]) == round + 1);
      meet();
    }
  }
}

// Blocks whose neighbours in the same 64 bytes are freed and made anew meanwhile: nothing happens to them.
void neighbours_are_freed() {
  struct Small {
    std::uint64_t words[10];
  };
  constexpr unsigned kBlocks = 64, kRounds = 1000;
  auto* blocks = shared<std::uint64_t>("blocks", [] {
    auto* all = block<std::uint64_t>(kBlocks + 1);  // the last: how many nodes are done
    for (unsigned i = 0; i < kBlocks; ++i) {
      all[i] = reinterpret_cast<std::uint64_t>(dsm::alloc(sizeof(Small)));
      *reinterpret_cast<Small*>(all[i]) = Small{};
    }
    return all;
  });
  const auto at = [&](unsigned i) { return reinterpret_cast<Small*>(*dsm::borrow_shared(&blocks[i])); };
  for (unsigned round = 0; round < kRounds; ++round) {
    for (unsigned i = 1; i < kBlocks; i += 2) {
      auto w = dsm::borrow_mut(at(i));
      for (std::uint64_t& word : w->words) ++word;
    }
  }
  ++*dsm::borrow_mut(&blocks[kBlocks]);
  while (dsm::node() == 0 && *dsm::borrow_shared(&blocks[kBlocks]) < dsm::nodes()) {
    for (unsigned i = 0; i < kBlocks; i += 2) {
      dsm::free(at(i));
      *dsm::borrow_mut(&blocks[i]) = reinterpret_cast<std::uint64_t>(dsm::alloc(sizeof(Small)));
    }
  }
  meet();
  for (unsigned i = 1; i < kBlocks; i += 2) {
    for (const std::uint64_t word : dsm::borrow_shared(at(i))->words) EXPECT(word == kRounds * dsm::nodes());
  }
  meet();
}

const std::map<std::string, std::function<void()>> kChecks = {{"values", values},
                                                              {"mixed", mixed},
                                                              {"exclusion", exclusion},
                                                              {"peeks", peeks},
                                                              {"peeks_elsewhere", peeks_elsewhere},
                                                              {"many", many},
                                                              {"snapshots", snapshots},
                                                              {"transfers", transfers},
                                                              {"interleaved", interleaved},
                                                              {"own_page_raw", own_page_raw},
                                                              {"close_together", close_together},
                                                              {"neighbours_are_freed", neighbours_are_freed}};

}  // namespace

int main(int argc, char** argv) { return run(kChecks, argc, argv); }
