// Programs that borrow wrongly, one by name: hints_misuse NAME. Each has to end with one clear line.
#include <dsm/hints.h>
#include <dsm/hints_c.h>

#include <thread>

#include "tests/cluster/hints_frame.h"

namespace {

using namespace hints_test;

struct Account {
  std::uint64_t balance;
  std::uint64_t pad[7];
};

Account* accounts() {
  return shared<Account>("accounts", [] { return block<Account>(64); });
}

void null_pointer() { auto r = dsm::borrow_shared(static_cast<Account*>(nullptr)); }
void foreign_pointer() {
  Account mine{};
  auto r = dsm::borrow_mut(&mine);
}
void never_allocated() {
  meet();
  auto* beyond = reinterpret_cast<Account*>(reinterpret_cast<std::uintptr_t>(accounts()) + (std::uintptr_t{4} << 30));
  if (dsm::node() == 0) auto r = dsm::borrow_shared(beyond);
  meet();
}
void never_allocated_elsewhere() {
  meet();
  auto* beyond = reinterpret_cast<Account*>(reinterpret_cast<std::uintptr_t>(accounts()) + (std::uintptr_t{4} << 30));
  if (dsm::node() == 1) auto r = dsm::borrow_shared(beyond);
  meet();
}
void conflict_at_home() {
  auto* account = accounts();
  if (dsm::node() == 0) {
    auto one = dsm::borrow_mut(account);
    auto two = dsm::borrow_mut(account);
  }
  meet();
}
void conflict_elsewhere() {
  auto* account = accounts();
  if (dsm::node() == 1) {
    auto one = dsm::borrow_mut(account);
    auto two = dsm::borrow_mut(account);
  }
  meet();
}
void shared_in_mutable() {
  auto* account = accounts();
  if (dsm::node() == 1) {
    auto one = dsm::borrow_mut(account);
    auto two = dsm::borrow_shared(account);
  }
  meet();
}
void raw_access() {
  auto* account = accounts();
  if (dsm::node() == 1) {
    auto one = dsm::borrow_mut(account);
    account->balance = 1;
  }
  meet();
}
void second_release() {
  auto* account = accounts();
  void* borrowed = dsm_borrow_mut(account, sizeof *account);
  dsm_release(borrowed);
  dsm_release(borrowed);
}
void moved_owner() {
  auto owner = dsm::make_owned<Account>();
  auto other = std::move(owner);
  auto r = dsm::borrow_shared(owner);
}
void moved_inside() {
  auto owner = dsm::make_owned<Account>();
  auto w = dsm::borrow_mut(owner);
  auto other = std::move(owner);
}
void transferred() {
  auto owner = dsm::make_owned<Account>();
  auto other = dsm::transfer(std::move(owner), 1);
  auto w = dsm::borrow_mut(owner);
}
void thread_exit() {
  auto* account = accounts();
  if (dsm::node() == 0) {
    std::thread([=] { dsm_borrow_mut(account, sizeof *account); }).join();
  }
  meet();
}
void overlap() {
  auto* account = accounts();
  if (dsm::node() == 1) {
    auto one = dsm::borrow_shared(account);
    auto two = dsm::borrow_shared(&account->pad[0]);
  }
  meet();
}
// A thread waits for an object whose header is that of one it has itself.
void one_header() {
  auto* words = shared<std::uint64_t>("words", [] { return block<std::uint64_t>(8); });
  if (dsm::node() == 0) {
    auto one = dsm::borrow_mut(&words[1]);
    auto two = dsm::borrow_shared(&words[5]);
  }
  meet();
}
// Two nodes borrow two objects, each in the other's order.
void deadlock() {
  auto* account = accounts();
  auto one = dsm::borrow_mut(&account[dsm::node()]);
  meet();
  auto two = dsm::borrow_mut(&account[1 - dsm::node()]);
}

}  // namespace

int main(int argc, char** argv) {
  return run({{"null_pointer", null_pointer},
              {"foreign_pointer", foreign_pointer},
              {"never_allocated", never_allocated},
              {"never_allocated_elsewhere", never_allocated_elsewhere},
              {"conflict_at_home", conflict_at_home},
              {"conflict_elsewhere", conflict_elsewhere},
              {"shared_in_mutable", shared_in_mutable},
              {"raw_access", raw_access},
              {"second_release", second_release},
              {"moved_owner", moved_owner},
              {"moved_inside", moved_inside},
              {"transferred", transferred},
              {"thread_exit", thread_exit},
              {"overlap", overlap},
              {"one_header", one_header},
              {"deadlock", deadlock}},
             argc, argv);
}
