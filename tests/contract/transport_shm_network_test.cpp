// The emulated network: nothing is earlier than its figures say. (That it is not much later cannot be asserted.)
#include <optional>

#include "base/clock.h"
#include "base/emulation.h"
#include "net/overflow.h"
#include "tests/contract/transport_world.h"

namespace dsm::net::test {
namespace {

TEST(ShmEmulation, Parses) {
  const auto rdma = parse_emulation("rdma");
  ASSERT_TRUE(rdma.has_value());
  EXPECT_EQ(rdma->chain_ns(0), 2000);
  EXPECT_EQ(rdma->chain_ns(5000), 3000);
  EXPECT_EQ(rdma->message_ns, 2500);
  const auto tcp = parse_emulation("tcp");
  ASSERT_TRUE(tcp.has_value());
  EXPECT_EQ(tcp->chain_ns(1100), 26000);
  EXPECT_EQ(tcp->message_ns, 25000);
  const auto own = parse_emulation("10:1:20");
  ASSERT_TRUE(own.has_value());
  EXPECT_EQ(own->chain_ns(3), 3010);
  EXPECT_EQ(own->message_ns, 20);
  EXPECT_EQ(own->chain_ns(std::uint64_t{1} << 42), 10 + (std::int64_t{1000} << 42)) << "no overflow";
  EXPECT_FALSE(parse_emulation("")->on());
  EXPECT_TRUE(parse_emulation("0:1000000000:0")->on());
  for (const char* bad : {"RDMA", "1", "1:2", "1:2:", "1:2:3:", "1:2:3:4", "1:0:3", "-1:2:3", "1:-2:3", "1:2:-3",
                          "1:2:3 ", " 1:2:3", "::", "1:2:3x", "1x:2:3", "1:2:1000000001", "99999999999999999999:2:3"}) {
    const auto parsed = parse_emulation(bad);
    ASSERT_FALSE(parsed.has_value()) << bad;
    EXPECT_EQ(parsed.error().code, Errc::kBadOption);
  }
}

TEST(ShmEmulation, AChainTakesItsRoundTripAndItsBytes) {
  const auto world = make_shm_world(2, "3000000:1:0");  // 3 ms, 1 byte/us
  const auto transport = world->join(0);
  std::byte page[kPageBytes];
  Op chain[] = {read_op(Region::kMemory, 0, page, 1000), write_op(Region::kMemory, 0, page, 1000),
                fetch_add_op(Region::kMeta, 0, 1)};
  const std::int64_t start = now_ns();
  ASSERT_TRUE(transport->execute(1, chain).has_value());
  EXPECT_GE(now_ns() - start, 3'000'000 + 2 * 1'000'000);
}

// A wait of any length ends when the message is due: slept for (30 ms), spun for (50 us).
TEST(ShmEmulation, MessagesComeInTheirOrderAndNotBeforeTheirTime) {
  for (const std::int64_t message_ns : {50'000, 30'000'000}) {
    const auto world = make_shm_world(2, "0:1:" + std::to_string(message_ns));
    run_nodes(*world, 2, [&](Transport& t) {
      struct Stamped {
        std::int64_t sent_ns;
        std::uint32_t number;
      };
      constexpr std::uint32_t kMessages = 20;
      if (t.self() == 0) {
        for (std::uint32_t i = 0; i < kMessages; ++i) {
          ASSERT_TRUE(t.send(1, bytes_of(Stamped{now_ns(), i})).has_value());
        }
        return;
      }
      std::uint32_t next = 0;
      const auto sink = [&](NodeId, std::span<const std::byte> bytes) {
        const auto stamped = value_of<Stamped>(bytes);
        EXPECT_GE(now_ns(), stamped.sent_ns + message_ns);
        EXPECT_EQ(stamped.number, next++);
      };
      serve(t, sink, [&] { return next == kMessages; });
    });
  }
}

TEST(ShmEmulation, AMessageToTheOwnNodeOvertakesTheNetwork) {
  const auto world = make_shm_world(2, "0:1:1000000000");
  const auto zero = world->join(0);
  const auto one = world->join(1);
  std::optional<NodeId> from;
  const MessageSink sink = [&](NodeId sender, std::span<const std::byte>) { from = sender; };
  const std::int64_t sent_ns = now_ns();
  ASSERT_TRUE(zero->send(1, {}).has_value());
  ASSERT_TRUE(one->send(1, {}).has_value());
  ASSERT_EQ(one->poll(sink, 1), 1u);
  if (now_ns() < sent_ns + 1'000'000'000) {
    EXPECT_EQ(from, NodeId{1});
  }
  // A message that is not due is left for the service thread by an access waiter who leaves, and is no reason to wake.
  ASSERT_TRUE(one->claim_access());
  one->wait(Waiter::kAccess, 1000);
  one->release_access();
  while (one->poll(sink, 1) == 0) one->wait(Waiter::kService, -1);
  EXPECT_EQ(from, NodeId{0});
  EXPECT_GE(now_ns(), sent_ns + 1'000'000'000);
}

TEST(ShmOverflow, KeepsOrderThroughManyBlocks) {
  Overflow overflow;
  std::uint32_t in = 0;
  std::uint32_t out = 0;
  for (const auto& [push, pop] : {std::pair{10, 10}, {5000, 3000}, {1, 2001}, {1023, 1023}, {1024, 1}, {1, 1024}}) {
    for (int i = 0; i < push; ++i, ++in) ASSERT_TRUE(overflow.push(in, bytes_of(in)).has_value());
    for (int i = 0; i < pop; ++i, ++out) {
      ASSERT_FALSE(overflow.empty());
      ASSERT_EQ(value_of<std::uint32_t>(overflow.front().message()), out);
      ASSERT_EQ(overflow.front().due_ns, out);
      overflow.pop();
    }
    ASSERT_EQ(overflow.empty(), in == out);
  }
  EXPECT_TRUE(overflow.push(0, {}).has_value());
  EXPECT_TRUE(overflow.front().message().empty());
}

}  // namespace
}  // namespace dsm::net::test
