// Pages that nodes gain for one store each, run by every node of a job: whatever the library makes of such stores, the
// values are those of one memory. Exit status 0: right.
#include <dsm/dsm.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <thread>

#include "tests/cluster/node_frame.h"

namespace {

using node_test::meet;
using node_test::shared;

struct Page {
  std::atomic<std::uint64_t> turn;
  std::atomic<std::uint64_t> tickets;
  std::atomic<std::uint32_t> half;
  std::atomic<std::uint8_t> byte;
  std::uint64_t log[256];
};

// With more nodes than there may be CPUs the others need this one.
void spin() {
  if (dsm::nodes() > 2) std::this_thread::yield();
  __builtin_ia32_pause();
}

// Who reads what is there no more waits for ever; after 20 s it is sure.
void await(const std::atomic<std::uint64_t>& turn, std::uint64_t round) {
  std::chrono::steady_clock::time_point end{};
  for (std::uint64_t tries = 1; turn.load(std::memory_order_acquire) != round; ++tries) {
    spin();
    if (tries % 4096 != 0) continue;
    const auto now = std::chrono::steady_clock::now();
    if (tries == 4096) end = now + std::chrono::seconds(20);
    EXPECT(now < end);
  }
}

// Rounds in which the nodes come one after the other; act(round, first) runs in between, and `first` was the first one.
template <typename Act>
void in_turns(Page& page, std::uint64_t rounds, Act act) {
  const std::uint64_t first = page.turn.load();
  meet();
  for (std::uint64_t round = first + dsm::node(); round < first + rounds * dsm::nodes(); round += dsm::nodes()) {
    await(page.turn, round);
    act(round, first);
    page.turn.store(round + 1, std::memory_order_release);
  }
  meet();
  EXPECT(page.turn.load() == first + rounds * dsm::nodes());
  meet();
}

void nothing(std::uint64_t, std::uint64_t) {}

// What looked like a page of one store has more of them for a while, then one again.
void more_stores_at_times(Page& page) {
  for (int phase = 0; phase < 4; ++phase) {
    in_turns(page, 150, [&](std::uint64_t round, std::uint64_t first) {
      if (phase % 2 == 0) return;
      EXPECT(round == first || page.log[(round - 1) % 256] == round - 1);
      page.log[round % 256] = round;
    });
  }
}

// A node that takes its time between the load that says it is its turn and the store loses the page in between.
void slow_turns(Page& page) {
  in_turns(page, 400, [](std::uint64_t round, std::uint64_t) {
    if (round % 8 < 2) std::this_thread::sleep_for(std::chrono::microseconds(100 << round % 5));
  });
}

// Stores that the library does not know: of a vector register, and of a word that is not aligned.
void unknown_stores(Page& page) {
  auto* const crooked = reinterpret_cast<unsigned char*>(page.log) + 1;
  in_turns(page, 400, [&](std::uint64_t round, std::uint64_t first) {
    std::uint64_t last = 0;
    std::memcpy(&last, crooked, sizeof last);
    EXPECT(round == first || last == round - 1);
    asm volatile("movq %0, %%xmm0\n\tmovq %%xmm0, %1" : : "r"(round), "m"(*crooked) : "xmm0", "memory");
  });
}

// Atomics of other widths, and what they give back.
void other_stores(Page& page) {
  in_turns(page, 200, [&](std::uint64_t round, std::uint64_t first) {
    auto expected = static_cast<std::uint32_t>(round - first);
    EXPECT(page.half.compare_exchange_strong(expected, expected + 1));
    EXPECT(page.byte.fetch_add(1) == (round - first) % 256);
  });
}

// Tickets: one atomic addition each, in no order. Each is drawn once.
void tickets(Page& page, std::atomic<std::uint64_t>* drawn) {
  const std::uint64_t first = page.tickets.load();
  meet();
  constexpr std::uint64_t kTickets = 2000;
  for (std::uint64_t i = 0; i < kTickets; ++i) {
    const std::uint64_t ticket = page.tickets.fetch_add(1) - first;
    EXPECT(ticket < kTickets * dsm::nodes());
    drawn[ticket / 64].fetch_xor(std::uint64_t{1} << ticket % 64);
  }
  meet();
  EXPECT(page.tickets.load() == first + kTickets * dsm::nodes());
  for (std::uint64_t ticket = 0; ticket < kTickets * dsm::nodes(); ++ticket) {
    EXPECT((drawn[ticket / 64].load() >> ticket % 64 & 1) == 1);
  }
  meet();
}

// Two threads of each node share its turn: one of them stores while the other reads, and both must see it.
void with_a_reader_beside(Page& page) {
  std::atomic<bool> done{false};
  std::thread reader([&] {
    std::uint64_t last = 0;
    while (!done.load()) {
      const std::uint64_t now = page.turn.load(std::memory_order_acquire);
      EXPECT(now >= last);
      last = now;
      std::this_thread::yield();
    }
  });
  in_turns(page, 200, nothing);
  done.store(true);
  reader.join();
}

}  // namespace

int main() {
  if (dsm::start()) return 64;
  auto* page = shared<Page>("page", [] { return new (dsm::alloc(sizeof(Page), 4096)) Page{}; });
  auto* drawn = shared<std::atomic<std::uint64_t>>("drawn", [] {
    auto* words = static_cast<std::atomic<std::uint64_t>*>(dsm::alloc(4096, 4096));
    for (int i = 0; i < 512; ++i) words[i].store(0);
    return words;
  });
  meet();
  in_turns(*page, 500, nothing);
  more_stores_at_times(*page);
  slow_turns(*page);
  unknown_stores(*page);
  other_stores(*page);
  tickets(*page, drawn);
  in_turns(*page, 300, nothing);
  with_a_reader_beside(*page);
  return 0;
}
