// Plain access inside borrows, one case by name: hints_crosswise NAME. Threads that each touch plain memory in the page
// of the other's object wait for each other in a circle, which has to end the program with a diagnosis that names all
// of them (or, where threads only seem to, must not be one).
#include <dsm/hints.h>

#include <atomic>
#include <barrier>
#include <chrono>
#include <thread>

#include "tests/cluster/hints_frame.h"

// Their names are told as the places of accesses.
extern "C" {
[[gnu::noinline]] void touch(std::uint64_t* plain);
[[gnu::noinline]] std::uint64_t look(const std::uint64_t* plain);
}
void touch(std::uint64_t* plain) { *static_cast<volatile std::uint64_t*>(plain) = 1; }
std::uint64_t look(const std::uint64_t* plain) { return *static_cast<const volatile std::uint64_t*>(plain); }

namespace {

using namespace hints_test;

constexpr std::size_t kPage = 4096;

struct Account {
  std::uint64_t balance;
  std::uint64_t pad[7];
};

// What a page has: objects to borrow, and one that is touched plainly.
struct alignas(kPage) Page {
  Account accounts[kPage / sizeof(Account)];
  std::uint64_t* plain() { return &accounts[32].balance; }
};

Page* pages() {
  return shared<Page>("pages", [] { return block<Page>(4, dsm::local, kPage); });
}

// Long enough for others to have begun what they wait for.
void let_others_wait() { std::this_thread::sleep_for(std::chrono::milliseconds(300)); }

// Each node has an object of its own page, and touches the next node's page.
void ring() {
  Page* all = pages();
  auto mine = dsm::borrow_mut(&all[dsm::node()].accounts[0]);
  meet();
  touch(all[(dsm::node() + 1) % dsm::nodes()].plain());
}
void ring_of_reads() {
  Page* all = pages();
  auto mine = dsm::borrow_mut(&all[dsm::node()].accounts[0]);
  meet();
  look(all[(dsm::node() + 1) % dsm::nodes()].plain());
}

// Two threads of one node, which is not the objects' home.
void threads() {
  Page* all = pages();
  if (dsm::node() == 1) {
    std::barrier<> both(2);
    const auto work = [&](unsigned self) {
      auto mine = dsm::borrow_mut(&all[self].accounts[0]);
      both.arrive_and_wait();
      touch(all[1 - self].plain());
    };
    std::thread other(work, 1);
    work(0);
    other.join();
  }
  meet();
}

// Both touch the page in which both have an object, and would see it in the midst of the other's borrow.
void one_page() {
  Page* all = pages();
  auto mine = dsm::borrow_mut(&all[0].accounts[dsm::node()]);
  meet();
  touch(all[0].plain());
}

// One waits for a borrow and one for a page.
void mixed() {
  Page* all = pages();
  auto mine = dsm::borrow_mut(&all[dsm::node()].accounts[0]);
  meet();
  if (dsm::node() == 0) {
    auto other = dsm::borrow_mut(&all[1].accounts[0]);
  } else {
    touch(all[0].plain());
  }
}

// The large objects of two nodes, each read at its home and not written by anybody: they are read in place.
void readers() {
  Page* mine = block<Page>(1, dsm::local, kPage);
  dsm::publish(dsm::node() == 0 ? "first" : "second", mine);
  auto* other = static_cast<Page*>(dsm::lookup(dsm::node() == 0 ? "second" : "first"));
  using Large = std::array<Account, 31>;
  meet();
  auto read = dsm::borrow_shared(reinterpret_cast<const Large*>(mine));
  meet();
  look(other->plain());
}

// A borrow within a borrow needs a page that a thread keeps plain, since it has borrowed of it: that waits for it.
void kept() {
  Page* all = pages();
  if (dsm::node() == 0) {
    auto one = dsm::borrow_mut(&all[0].accounts[0]);
    touch(all[0].plain());
    meet();
    auto two = dsm::borrow_mut(&all[1].accounts[0]);
  } else {
    auto two = dsm::borrow_mut(&all[1].accounts[0]);
    meet();
    auto three = dsm::borrow_mut(&all[0].accounts[8]);
  }
}

// --- no circles -----------------------------------------------------------------------------------------------------

// A thread has an object for which others wait, and touches its page: who waits for an object holds no page up.
void awaited() {
  Page* all = pages();
  const unsigned owner = dsm::nodes() - 1;
  std::barrier<> both(2);
  for (unsigned round = 0; round < 4; ++round) {
    if (dsm::node() == owner) {
      auto mine = dsm::borrow_mut(&all[0].accounts[round]);
      meet();
      let_others_wait();
      touch(all[0].plain());
      mine->balance += 1;
    } else {
      meet();
      if (round % 2 == 0) {
        dsm::borrow_mut(&all[0].accounts[round])->balance += 1;
      } else {
        EXPECT(dsm::borrow_shared(&all[0].accounts[round])->balance <= 1);
      }
    }
    meet();
    if (round % 2 == 0) EXPECT(dsm::borrow_shared(&all[0].accounts[round])->balance == dsm::nodes());
    EXPECT(*dsm::borrow_shared(all[0].plain()) == 1);
    meet();
  }
}

// The same within a node.
void awaited_here() {
  Page* all = pages();
  for (unsigned at = 0; at < dsm::nodes(); ++at) {
    if (dsm::node() == at) {
      auto mine = dsm::borrow_mut(&all[at].accounts[0]);
      std::thread other([&] { dsm::borrow_mut(&all[at].accounts[0])->balance += 1; });
      std::thread reader([&] { EXPECT(dsm::borrow_shared(&all[at].accounts[0])->balance <= 2); });
      let_others_wait();
      touch(all[at].plain());
      mine->balance += 1;
      mine.release();
      other.join();
      reader.join();
    }
    meet();
    EXPECT(dsm::borrow_shared(&all[at].accounts[0])->balance == 2);
  }
}

// Another node has asked for the page before the thread touches it, inside its borrow: it waits for the borrow's end
// all the same. By turns the borrower is at the object's home and elsewhere.
void claimed() {
  Page* all = pages();
  Account& account = all[0].accounts[0];
  for (unsigned round = 1; round <= 2 * dsm::nodes(); ++round) {
    const unsigned borrower = round % dsm::nodes();
    if (dsm::node() == borrower) {
      auto mine = dsm::borrow_mut(&account);
      meet();
      let_others_wait();
      touch(all[0].plain());
      const std::uint64_t found = mine->balance;
      mine->balance = 0;
      let_others_wait();
      mine->balance = found + 1;
    } else {
      meet();
      std::atomic_ref(account.balance).fetch_add(1);
    }
    meet();
    EXPECT(dsm::borrow_shared(&account)->balance == round * dsm::nodes());
    meet();
  }
}

// The same of an object that is read in place.
void claimed_read() {
  Page* all = pages();
  using Large = std::array<Account, 31>;
  if (dsm::node() == 0) {
    auto read = dsm::borrow_shared(reinterpret_cast<const Large*>(&all[0]));
    touch(all[0].plain());
    meet();
    let_others_wait();
    EXPECT((*read)[7].balance == 0);
  } else {
    meet();
    std::atomic_ref(all[0].accounts[7].balance).fetch_add(1);
  }
  meet();
  EXPECT(dsm::borrow_shared(&all[0].accounts[7])->balance == dsm::nodes() - 1);
}

// A reader needs the page, as an object's, that another node keeps plain until its borrow's end; which waits for it.
void reader_needs_it() {
  Page* all = pages();
  using Large = std::array<Account, 31>;
  auto* large = reinterpret_cast<Large*>(&all[0]);
  for (std::uint64_t round = 1; round < 20; ++round) {
    if (dsm::node() == 1) {
      auto mine = dsm::borrow_mut(large);
      touch(all[0].plain());
      meet();
      (*mine)[7].balance = round;
    } else {
      meet();
      EXPECT((*dsm::borrow_shared(large))[7].balance + 1 >= round);
    }
    meet();
    EXPECT((*dsm::borrow_shared(large))[7].balance == round);
    meet();
  }
}

// A second borrow in the page that the thread has touched inside the first, while others want the page, too.
void borrows_more() {
  Page* all = pages();
  for (unsigned round = 1; round <= 3 * dsm::nodes(); ++round) {
    if (dsm::node() == round % dsm::nodes()) {
      auto one = dsm::borrow_mut(&all[0].accounts[0]);
      touch(all[0].plain());
      meet();
      let_others_wait();
      auto two = dsm::borrow_mut(&all[0].accounts[1]);
      one->balance += 1;
      two->balance += 1;
    } else {
      meet();
      std::atomic_ref(all[0].accounts[dsm::node() % 2].balance).fetch_add(1);
    }
    meet();
  }
  const std::uint64_t sum =
      dsm::borrow_shared(&all[0].accounts[0])->balance + dsm::borrow_shared(&all[0].accounts[1])->balance;
  EXPECT(sum == 3 * dsm::nodes() * (dsm::nodes() + 1));
}

// What a thread has changed in a page that it has touched, too, is no copy to be found again when that page has been
// written plainly since.
void left_copy() {
  Page* all = pages();
  Account& account = all[0].accounts[0];
  for (std::uint64_t round = 1; round < 4; ++round) {
    if (dsm::node() == 1) {
      auto mine = dsm::borrow_mut(&account);
      touch(all[0].plain());
      mine->balance = 2 * round;
    }
    meet();
    if (dsm::node() == 0) account.balance = 2 * round + 1;
    meet();
    EXPECT(dsm::borrow_shared(&account)->balance == 2 * round + 1);
    meet();
  }
}

// A thread changes what its node keeps by transfer, and touches its page: the object is still its own until it is done.
void kept_object() {
  Page* all = pages();
  Account& account = all[0].accounts[0];
  for (unsigned round = 0; round < 3; ++round) {
    if (dsm::node() == 1) {
      dsm::transfer(&account, 1);
      dsm::borrow_mut(&account)->balance += 1;
      auto mine = dsm::borrow_mut(&account);
      mine->balance += 1;
      meet();
      let_others_wait();
      touch(all[0].plain());
      let_others_wait();
      mine->balance += 1;
    } else {
      meet();
      dsm::borrow_mut(&account)->balance += 1;
    }
    meet();
    EXPECT(dsm::borrow_shared(&account)->balance == (round + 1) * (dsm::nodes() + 2));
    meet();
  }
}

}  // namespace

int main(int argc, char** argv) {
  return run({{"ring", ring},
              {"ring_of_reads", ring_of_reads},
              {"threads", threads},
              {"one_page", one_page},
              {"mixed", mixed},
              {"readers", readers},
              {"kept", kept},
              {"awaited", awaited},
              {"awaited_here", awaited_here},
              {"claimed", claimed},
              {"claimed_read", claimed_read},
              {"reader_needs_it", reader_needs_it},
              {"borrows_more", borrows_more},
              {"left_copy", left_copy},
              {"kept_object", kept_object}},
             argc, argv);
}
