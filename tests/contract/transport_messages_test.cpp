// Messages: in order, whole, once; a full ring holds up nobody and loses nothing; polling is fair and exclusive.
#include <algorithm>
#include <thread>

#include "tests/contract/transport_world.h"

namespace dsm::net::test {
namespace {

class TransportMessages : public TransportTest {};
DSM_ON_EVERY_WORLD(TransportMessages);

struct Numbered {
  std::uint32_t thread;
  std::uint32_t number;
};

// A message whose length and every byte follow from its number.
struct Patterned {
  std::vector<std::byte> bytes;

  explicit Patterned(const Numbered& head) : bytes(sizeof head + head.number * 31 % (kMaxMessageBytes - 7)) {
    std::ranges::fill(bytes, static_cast<std::byte>(head.number));
    std::ranges::copy(bytes_of(head), bytes.begin());
  }
};

TEST_P(TransportMessages, InOrderWholeAndOnceFromManyThreadsOfManyNodes) {
  constexpr unsigned kNodes = 4;
  constexpr std::uint32_t kThreads = 2;
  constexpr std::uint32_t kEach = 10000;
  const auto world = make_world(kNodes);
  run_nodes(*world, kNodes, [&](Transport& t) {
    std::atomic<unsigned> through{0};
    const auto send_all = [&](std::uint32_t thread) {
      for (std::uint32_t i = 0; i < kEach; ++i) {
        ASSERT_TRUE(t.send(0, Patterned({thread, i}).bytes).has_value());
      }
    };
    std::vector<std::thread> threads;
    for (std::uint32_t i = 0; i < kThreads; ++i) threads.emplace_back(send_all, i);

    std::uint32_t next[kNodes][kThreads] = {};
    std::uint32_t got = 0;
    const auto sink = [&](NodeId from, std::span<const std::byte> bytes) {
      if (bytes.empty()) {
        ++through;
        return;
      }
      ASSERT_GE(bytes.size(), sizeof(Numbered));
      const auto head = value_of<Numbered>(bytes.first(sizeof(Numbered)));
      ASSERT_LT(from, kNodes);
      ASSERT_LT(head.thread, kThreads);
      ASSERT_EQ(head.number, next[from][head.thread]++);
      ASSERT_TRUE(std::ranges::equal(bytes, Patterned(head).bytes)) << "message " << head.number;
      ++got;
    };
    // Everybody, the receiver included, sends to node 0, which tells all with an empty message when it has everything.
    if (t.self() == 0) {
      serve(t, sink, [&] { return got == kNodes * kThreads * kEach; });
      for (NodeId node = 1; node < kNodes; ++node) EXPECT_TRUE(t.send(node, {}).has_value());
    } else {
      serve(t, sink, [&] { return through == 1; });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(t.poll(sink, 1), 0u) << "more messages than were sent";
  });
}

TEST_P(TransportMessages, AMessageArrivesAfterTheChainBeforeIt) {
  constexpr std::uint64_t kRounds = 20000;
  const auto world = make_world(2);
  run_nodes(*world, 2, [](Transport& t) {
    std::uint64_t last = 0;
    if (t.self() == 0) {
      for (std::uint64_t i = 1; i <= kRounds; ++i) {
        Op write = write_op(Region::kMemory, 512, &i, 8);
        ASSERT_TRUE(t.execute(1, {&write, 1}).has_value());
        ASSERT_TRUE(t.send(1, bytes_of(i)).has_value());
      }
    }
    const auto sink = [&](NodeId, std::span<const std::byte> bytes) {
      last = value_of<std::uint64_t>(bytes);
      if (t.self() == 0) return;
      std::uint64_t seen = 0;
      run_one(t, 1, read_op(Region::kMemory, 512, &seen, 8));
      ASSERT_GE(seen, last);
      if (last == kRounds) {
        EXPECT_TRUE(t.send(0, bytes_of(last)).has_value());
      }
    };
    serve(t, sink, [&] { return last == kRounds; });
  });
}

// The receiver stands still while far more is sent than a ring holds; the sender then sleeps with its overflow.
TEST_P(TransportMessages, AStoppedReceiverHoldsUpNobodyAndLosesNothing) {
  constexpr std::uint32_t kMessages = 20000;
  const auto world = make_world(2);
  struct Table {
    std::atomic<std::uint32_t> ready, go, sent;
  };
  Shared<Table> table;
  Nodes nodes(*world, 2, [&](Transport& t) {
    std::uint32_t next = 0;
    bool answered = false;
    if (t.self() == 0) {
      await(table->go, 1);
      for (std::uint32_t i = 0; i < kMessages; ++i) ASSERT_TRUE(t.send(1, Patterned({0, i}).bytes).has_value());
      announce(table->sent, 1);
      serve(
          t, [&](NodeId, std::span<const std::byte>) { answered = true; }, [&] { return answered; });
      return;
    }
    announce(table->ready, 1);
    const auto sink = [&](NodeId, std::span<const std::byte> bytes) {
      const Numbered head = {0, next++};
      ASSERT_TRUE(std::ranges::equal(bytes, Patterned(head).bytes)) << "message " << head.number;
    };
    serve(t, sink, [&] { return next == kMessages; });
    EXPECT_TRUE(t.send(0, {}).has_value());
  });
  await(table->ready, 1);
  nodes.stop(1);
  announce(table->go, 1);
  await(table->sent, 1);
  nodes.resume(1);
  nodes.join();
}

// Each node sends itself a message for each of its own that it takes, so they never end.
TEST_P(TransportMessages, AFloodOfOneSenderDoesNotShutOutAnother) {
  const auto world = make_world(2);
  run_nodes(*world, 2, [](Transport& t) {
    unsigned others = 0;
    const auto sink = [&](NodeId from, std::span<const std::byte>) {
      if (from == t.self()) {
        EXPECT_TRUE(t.send(from, {}).has_value());
      } else {
        ++others;
      }
    };
    EXPECT_TRUE(t.send(t.self(), {}).has_value());
    unsigned expected = 0;
    for (const unsigned budget : {1u, 7u, UINT32_MAX}) {
      EXPECT_TRUE(t.send(static_cast<NodeId>(1 - t.self()), {}).has_value());
      ++expected;
      while (others < expected) t.poll(sink, budget);
    }
  });
}

TEST_P(TransportMessages, PollHandsOutNoMoreThanItsBudget) {
  const auto world = make_world(1);
  run_nodes(*world, 1, [](Transport& t) {
    std::uint32_t next = 0;
    const auto sink = [&](NodeId, std::span<const std::byte> bytes) {
      EXPECT_EQ(value_of<std::uint32_t>(bytes), next++);
    };
    EXPECT_EQ(t.poll(sink, 5), 0u);
    for (std::uint32_t i = 0; i < 12; ++i) EXPECT_TRUE(t.send(0, bytes_of(i)).has_value());
    EXPECT_EQ(t.poll(sink, 0), 0u);
    for (const unsigned expected : {5u, 5u, 2u, 0u}) EXPECT_EQ(t.poll(sink, 5), expected);
    EXPECT_EQ(next, 12u);
  });
}

TEST_P(TransportMessages, OneThreadPollsAtATime) {
  const auto world = make_world(1);
  run_nodes(*world, 1, [](Transport& t) {
    unsigned seen = 0;
    for (std::uint32_t i = 0; i < 2; ++i) EXPECT_TRUE(t.send(0, bytes_of(i)).has_value());
    const auto sink = [&](NodeId, std::span<const std::byte>) {
      ++seen;
      std::thread([&] { EXPECT_EQ(t.poll([](NodeId, std::span<const std::byte>) { FAIL(); }, 1), 0u); }).join();
      EXPECT_EQ(t.poll([](NodeId, std::span<const std::byte>) { FAIL(); }, 1), 0u);
      if (seen <= 2) {
        EXPECT_TRUE(t.send(0, {}).has_value()) << "a sink may send";
      }
    };
    serve(t, sink, [&] { return seen == 4; });
  });
}

TEST_P(TransportMessages, TooLongIsABug) {
  const auto world = make_world(1);
  const auto transport = world->join(0);
  const std::vector<std::byte> message(kMaxMessageBytes + 1);
  EXPECT_DEATH(static_cast<void>(transport->send(0, message)), "message of 241 bytes");
}

}  // namespace
}  // namespace dsm::net::test
