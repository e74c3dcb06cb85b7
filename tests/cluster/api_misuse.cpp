// Programs that use the heap wrongly, or too late, one by name: api_misuse NAME. `right` uses it rightly in all ways.
#include <dsm/hints.h>

#include <cstring>
#include <thread>

#include "tests/cluster/hints_frame.h"

namespace {

using namespace hints_test;

constexpr std::size_t kLarge = std::size_t{1} << 20;

char* filled(std::size_t bytes, std::size_t alignment = 0, dsm::placement where = dsm::local) {
  void* const block = dsm::alloc(bytes, alignment, where);
  EXPECT(block != nullptr);
  std::memset(block, 1, bytes);
  return static_cast<char*>(block);
}

void free_twice(char* block) {
  dsm::free(block);
  dsm::free(block);
}

// --- blocks of this node --------------------------------------------------------------------------------------------

void twice() { free_twice(filled(100)); }
void twice_large() { free_twice(filled(kLarge)); }
void twice_aligned() { free_twice(filled(100, 4096)); }
void twice_interleaved() { free_twice(filled(kLarge, 0, dsm::interleaved)); }
void inside() { dsm::free(filled(100) + 16); }
void inside_large() { dsm::free(filled(kLarge) + 4096); }
void inside_interleaved() { dsm::free(filled(kLarge, 0, dsm::interleaved) + (64 << 10)); }
// The address is in memory that the heap has, and in no block of it.
void nothing() {
  char* const last = filled(kLarge);
  dsm::free(last + dsm::usable_size(last) + (std::size_t{64} << 10));
}
void moved_by_realloc() {
  char* const block = filled(100);
  EXPECT(dsm::realloc(block, kLarge) != block);
  dsm::free(block);
}
void realloc_after_free() {
  char* const block = filled(kLarge);
  dsm::free(block);
  EXPECT(dsm::realloc(block, 2 * kLarge) == nullptr);
}
void size_after_free() {
  char* const block = filled(kLarge);
  dsm::free(block);
  EXPECT(dsm::usable_size(block) == 0);
}
void other_thread() {
  char* const block = filled(100);
  std::thread([block] { dsm::free(block); }).join();
  dsm::free(block);
}

// --- blocks of another ----------------------------------------------------------------------------------------------

char* of_node_0(std::size_t bytes) {
  return shared<char>("block", [bytes] { return filled(bytes); });
}
void on_node_1(void (*free)(char*), std::size_t bytes) {
  char* const block = of_node_0(bytes);
  if (dsm::node() == 1) free(block);
  meet();
}
void remote_twice() { on_node_1(free_twice, 100); }
void remote_twice_large() { on_node_1(free_twice, kLarge); }
void remote_inside() {
  on_node_1([](char* block) { dsm::free(block + 16); }, 100);
}
void remote_inside_large() {
  on_node_1([](char* block) { dsm::free(block + 4096); }, kLarge);
}
void remote_interleaved() {
  char* const block = shared<char>("block", [] { return filled(kLarge, 0, dsm::interleaved); });
  if (dsm::node() == 1) free_twice(block);
  meet();
}
void remote_realloc() {
  on_node_1(
      [](char* block) {
        dsm::free(block);
        EXPECT(dsm::realloc(block, 2 * kLarge) == nullptr);
      },
      kLarge);
}
// Node 1 frees it for node 0, and node 0 once more.
void both_free() {
  char* const block = of_node_0(100);
  if (dsm::node() == 1) dsm::free(block);
  meet();
  if (dsm::node() == 0) dsm::free(block);
  meet();
}
void allocated_there() {
  if (dsm::node() == 1) free_twice(filled(100, 0, dsm::on_node(0)));
  meet();
}

// --- objects --------------------------------------------------------------------------------------------------------

struct Account {
  std::uint64_t balance;
  std::uint64_t pad[7];
};

void owned_freed() {
  auto owner = dsm::make_owned<Account>();
  dsm::free(owner.address());
  owner.reset();
}
void freed_in_borrow() {
  auto* const account = block<Account>(1);
  auto w = dsm::borrow_mut(account);
  dsm::free(account);
}
void owned_freed_in_borrow() {
  auto owner = dsm::make_owned<Account>();
  auto r = dsm::borrow_shared(owner);
  owner.reset();
}
void borrowed_after_free() {
  auto* const account = block<Account>(1);
  dsm::free(account);
  auto r = dsm::borrow_shared(account);
}
void changed_after_free() {
  auto* const account = block<Account>(1);
  dsm::free(account);
  auto w = dsm::borrow_mut(account);
}

// --- as it should be ------------------------------------------------------------------------------------------------

void right() {
  const unsigned other = (dsm::node() + 1) % dsm::nodes();
  for (const dsm::placement where : {dsm::local, dsm::on_node(other), dsm::interleaved}) {
    for (const std::size_t bytes : {std::size_t{1}, std::size_t{100}, std::size_t{5000}, kLarge, 3 * kLarge}) {
      for (const std::size_t alignment : {0UL, 64UL, 4096UL}) {
        char* block = filled(bytes, alignment, where);
        block = static_cast<char*>(dsm::realloc(block, 3 * bytes));
        block = static_cast<char*>(dsm::realloc(block, bytes));
        EXPECT(block != nullptr && dsm::usable_size(block) >= bytes && block[0] == 1);
        dsm::free(block);
      }
    }
  }
  auto* const account = block<Account>(1);
  dsm::borrow_mut(account)->balance = 7;
  EXPECT(dsm::borrow_shared(account)->balance == 7);
  dsm::free(account);
  auto owner = dsm::transfer(dsm::make_owned<Account>(), other);
  dsm::borrow_mut(owner)->balance = 8;
  EXPECT(dsm::borrow_shared(owner)->balance == 8);
  owner.reset();
  meet();
  dsm::free(dsm::node() == 0 ? of_node_0(100) : nullptr);
}

// --- after finish() -------------------------------------------------------------------------------------------------

void finished() {
  char* const block = filled(100);
  dsm::finish();
  EXPECT(dsm::start() == std::errc::not_connected);
  EXPECT(dsm::alloc(100) == nullptr);
  EXPECT(dsm::alloc(100, 0, dsm::interleaved) == nullptr);
  EXPECT(dsm::alloc_collective(100) == nullptr);
  EXPECT(dsm::realloc(block, 200) == nullptr);
  dsm::free(block);
  dsm::finish();
}
void prefetched_after_finish() {
  char* const block = filled(100);
  dsm::finish();
  static_cast<void>(dsm::prefetch(block, 100));
}
void asked_after_finish() {
  dsm::finish();
  static_cast<void>(dsm::nodes());
}

}  // namespace

int main(int argc, char** argv) {
  return run({{"twice", twice},
              {"twice_large", twice_large},
              {"twice_aligned", twice_aligned},
              {"twice_interleaved", twice_interleaved},
              {"inside", inside},
              {"inside_large", inside_large},
              {"inside_interleaved", inside_interleaved},
              {"nothing", nothing},
              {"moved_by_realloc", moved_by_realloc},
              {"realloc_after_free", realloc_after_free},
              {"size_after_free", size_after_free},
              {"other_thread", other_thread},
              {"remote_twice", remote_twice},
              {"remote_twice_large", remote_twice_large},
              {"remote_inside", remote_inside},
              {"remote_inside_large", remote_inside_large},
              {"remote_interleaved", remote_interleaved},
              {"remote_realloc", remote_realloc},
              {"both_free", both_free},
              {"allocated_there", allocated_there},
              {"owned_freed", owned_freed},
              {"freed_in_borrow", freed_in_borrow},
              {"owned_freed_in_borrow", owned_freed_in_borrow},
              {"borrowed_after_free", borrowed_after_free},
              {"changed_after_free", changed_after_free},
              {"right", right},
              {"finished", finished},
              {"prefetched_after_finish", prefetched_after_finish},
              {"asked_after_finish", asked_after_finish}},
             argc, argv);
}
