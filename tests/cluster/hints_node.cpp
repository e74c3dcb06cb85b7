// One check of object mode, run by every node of a job: hints_node NAME. Exit status 0: right. hints_test starts it
// under dsmrun, in every engine.
#include <dsm/hints.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <string>
#include <thread>
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

const std::map<std::string, std::function<void()>> kChecks = {
    {"values", values}, {"mixed", mixed}, {"exclusion", exclusion}};

}  // namespace

int main(int argc, char** argv) { return run(kChecks, argc, argv); }
