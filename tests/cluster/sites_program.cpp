// Allocates at sites whose blocks are used in known ways, tells what has become of the blocks, and checks what they
// hold. Three nodes or two; node 0 allocates all of it. `sites_program [c] [limit]`: c: by the C interface; limit: more
// blocks than 2 MiB hold; wait: in the end for a signal.
#include <dsm/dsm.h>
#include <dsm/dsm_c.h>
#include <dsm/sync.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <set>
#include <string>

namespace {

constexpr unsigned kSmall = 64, kPlaced = 16, kSpread = 4;
constexpr std::size_t kPage = 4096, kPlacedBytes = 4 * kPage, kSpreadBytes = 64 * kPage;
constexpr int kRounds = 60;
using Word = volatile std::uint64_t;

struct World {
  dsm::barrier barrier{dsm::nodes()};
  Word* fought[kSmall];   // small blocks, by turns nodes 0's and 1's
  Word* own[kSmall];      // small blocks that node 0 alone uses
  Word* placed[kPlaced];  // that node 1 alone uses
  Word* spread[kSpread];  // that all use
};

bool by_c = false;

[[gnu::noinline]] Word* make_fought() {
  void* const block = by_c ? dsm_alloc(64, 0, DSM_PLACE_LOCAL) : dsm::alloc(64);
  asm volatile("");  // no tail call: the site is here, whoever calls
  return static_cast<Word*>(block);
}
[[gnu::noinline]] Word* make_own() {
  // Of another size, so that none lies on a page with one of the above.
  return static_cast<Word*>(by_c ? dsm_alloc(192, 0, DSM_PLACE_LOCAL) : dsm::alloc(192));
}
Word* large(std::size_t bytes) {
  return static_cast<Word*>(by_c ? dsm_alloc(bytes, kPage, DSM_PLACE_LOCAL) : dsm::alloc(bytes, kPage));
}
[[gnu::noinline]] Word* make_placed() {
  Word* block = large(kPlacedBytes);
  asm volatile("");
  return block;
}

void require(bool good, const char* what) {
  if (good) return;
  std::fprintf(stderr, "node %u: %s\n", dsm::node(), what);
  std::_Exit(1);
}

std::size_t pages_of(Word* const* blocks, unsigned count) {
  std::set<std::uintptr_t> pages;
  for (unsigned i = 0; i < count; ++i) pages.insert(reinterpret_cast<std::uintptr_t>(blocks[i]) / kPage);
  return pages.size();
}

unsigned homes_of(const volatile void* block, std::size_t bytes) {
  std::set<unsigned> homes;
  for (std::size_t at = 0; at < bytes; at += kPage) {
    homes.insert(dsm::home(const_cast<const char*>(static_cast<const volatile char*>(block)) + at));
  }
  return static_cast<unsigned>(homes.size());
}

World* make_world() {
  auto* world = ::new (dsm::alloc(sizeof(World), kPage)) World;
  for (unsigned i = 0; i < kSmall; ++i) {
    world->fought[i] = make_fought();
    *world->fought[i] = 0;
  }
  for (unsigned i = 0; i < kSmall; ++i) world->own[i] = make_own();
  for (auto& block : world->placed) block = make_placed();
  for (auto& block : world->spread) {
    block =
        static_cast<Word*>(by_c ? dsm_alloc(kSpreadBytes, kPage, DSM_PLACE_LOCAL) : dsm::alloc(kSpreadBytes, kPage));
  }
  return world;
}

void use(World& world) {
  const unsigned self = dsm::node();
  for (int round = 0; round < kRounds; ++round) {
    // One after the other, so that each has what the other has had; another one first each time, at which it faults.
    const bool turn = round % 2 == static_cast<int>(self);
    for (unsigned i = 0; turn && i < kSmall; i += 2) {
      Word* const block = world.fought[(i + 2 * static_cast<unsigned>(round) + self) % kSmall];
      *block = *block + 1;
    }
    for (unsigned i = 0; self == 0 && i < kSmall; ++i) *world.own[i] = i;
    world.barrier.arrive_and_wait();
  }
  constexpr std::size_t kPlacedPages = kPlacedBytes / kPage;
  for (unsigned i = 0; self == 1 && i < kPlaced * kPlacedPages; ++i) {
    const std::size_t page = i * 37 % (kPlaced * kPlacedPages);  // in no sequence that is fetched ahead
    world.placed[page / kPlacedPages][page % kPlacedPages * (kPage / 8)] = i;
  }
  for (unsigned turn = 0; turn < 3 * dsm::nodes(); ++turn) {
    for (unsigned i = 0; turn % dsm::nodes() == self && i < kSpread; ++i) {
      for (std::size_t at = 0; at < kSpreadBytes / 8; at += kPage / 8) world.spread[i][at] = turn;
    }
    world.barrier.arrive_and_wait();
  }
}

// What each block holds, and that any node may measure, resize and free it.
void check(World& world) {
  const unsigned self = dsm::node();
  for (unsigned i = 0; i < kSmall; ++i) require(*world.fought[i] == kRounds / 2, "a block holds something else");
  world.barrier.arrive_and_wait();
  if (self != dsm::nodes() - 1) return;
  const auto block = [](Word* of) { return const_cast<std::uint64_t*>(of); };
  for (Word* of : world.placed) require(dsm::usable_size(block(of)) >= kPlacedBytes, "usable_size");
  for (unsigned i = 0; i < kSmall; ++i) {
    require(dsm::usable_size(block(world.fought[i])) >= 64, "usable_size");
    auto* const moved = static_cast<std::uint64_t*>(dsm::realloc(block(world.fought[i]), 10'000));
    require(moved != nullptr && *moved == kRounds / 2, "realloc");
    dsm::free(moved);
  }
  for (Word* of : world.placed) dsm::free(block(of));
  for (Word* of : world.spread) dsm::free(block(of));
}

}  // namespace

int main(int argc, char** argv) {
  std::set<std::string> wishes(argv + 1, argv + argc);
  by_c = wishes.contains("c");
  if (dsm::start()) return 3;
  if (dsm::node() == 0) dsm::publish("world", make_world());
  World& world = *static_cast<World*>(dsm::lookup("world"));
  use(world);
  if (dsm::node() == 0) {
    std::printf("fought %zu own %zu placed %u of %u spread %u\n", pages_of(world.fought, kSmall),
                pages_of(world.own, kSmall), dsm::home(const_cast<std::uint64_t*>(world.placed[0])),
                homes_of(world.placed[kPlaced - 1], kPlacedBytes), homes_of(world.spread[0], kSpreadBytes));
    std::fflush(stdout);
  }
  for (int i = 0; wishes.contains("limit") && dsm::node() == 0 && i < 2000; ++i) {
    Word* const more = make_fought();
    require(more != nullptr, "no block beyond the limit");
    *more = 1;
  }
  if (wishes.contains("wait")) ::pause();
  world.barrier.arrive_and_wait();
  check(world);
}
