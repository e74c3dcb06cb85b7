// Every call works in a signal handler: it allocates nothing, whatever it does, and finds no lock held by the thread
// it interrupted (that thread blocks signals while it is inside).
#include <signal.h>

#include "base/signals.h"
#include "tests/contract/transport_world.h"

namespace dsm::net::test {
namespace {

class TransportSignal : public TransportTest {};
DSM_ON_EVERY_WORLD(TransportSignal);

constexpr std::uint32_t kPerSignal = 600;  // more than a ring of shm holds
constexpr std::uint32_t kSignals = 50;

Transport* transport = nullptr;
const MessageSink* sink = nullptr;
std::uint32_t sent = 0;
std::uint32_t received = 0;
std::uint64_t failures = 0;
std::uint64_t allocated = 0;

void on_signal(int) {
  const std::uint64_t before = allocation_count();
  std::uint64_t page[kPageBytes / 8] = {};
  Op chain[] = {write_op(Region::kMemory, 0, page, sizeof page), read_op(Region::kMemory, 0, page, sizeof page),
                fetch_add_op(Region::kMeta, 0, 1), cas_op(Region::kMeta, 8, 0, 0)};
  if (!transport->execute(1, chain)) ++failures;
  for (std::uint32_t i = 0; i < kPerSignal; ++i, ++sent) {
    if (!transport->send(0, bytes_of(sent))) ++failures;
  }
  transport->wake(Waiter::kAccess);
  if (!transport->claim_access()) ++failures;
  while (received < sent) {
    transport->wait(Waiter::kAccess, -1);
    transport->poll(*sink, 7);
  }
  transport->release_access();
  allocated += allocation_count() - before;
}

TEST_P(TransportSignal, EverythingWorksInAHandler) {
  const auto world = make_world(2);
  run_nodes(*world, 2, [](Transport& t) {
    if (t.self() == 1) return;
    transport = &t;
    const MessageSink counting = [](NodeId, std::span<const std::byte> bytes) {
      std::uint32_t number = 0;
      std::copy(bytes.begin(), bytes.end(), reinterpret_cast<std::byte*>(&number));
      if (number != received++) ++failures;
    };
    sink = &counting;
    ASSERT_NE(signal(SIGUSR1, on_signal), SIG_ERR);
    for (std::uint32_t i = 0; i < kSignals; ++i) {
      ASSERT_EQ(raise(SIGUSR1), 0);
      const SignalsBlocked blocked;
      ASSERT_EQ(raise(SIGUSR1), 0);  // runs when the block ends, after these calls
      ASSERT_TRUE(t.send(0, bytes_of(sent++)).has_value());
      t.poll(counting, 1);
    }
    EXPECT_EQ(received, kSignals * (2 * kPerSignal + 1));
    EXPECT_EQ(failures, 0u);
    EXPECT_EQ(allocated, 0u);
    EXPECT_EQ(run_one(t, 1, fetch_add_op(Region::kMeta, 0, 0)), 2 * kSignals);
  });
}

}  // namespace
}  // namespace dsm::net::test
