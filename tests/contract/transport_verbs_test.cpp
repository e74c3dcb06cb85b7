// What only verbs have: memory that is registered when it is needed, atomics that are the card's, nodes that die.
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <thread>

#include "tests/contract/transport_verbs_world.h"

namespace dsm::net::test {
namespace {

constexpr std::uint64_t kGigabyte = std::uint64_t{1} << 30;

// The region is 64 GiB; what is used of it is registered, and nothing else.
TEST(TransportVerbs, UnitsAreRegisteredWhenSomebodyNeedsThem) {
  VerbsWorld world(2, 64 * kGigabyte, kGigabyte);
  world.params().interleaved_from = 32 * kGigabyte;
  run_nodes(world, 2, [](Transport& t) {
    const auto peer = static_cast<NodeId>(1 - t.self());
    const std::uint64_t offsets[] = {0, kChunkBytes - 8, 5 * kGigabyte + 8, 40 * kGigabyte, 64 * kGigabyte - 16};
    for (const std::uint64_t offset : offsets) {
      const std::uint64_t out[2] = {offset + t.self(), ~offset};
      std::uint64_t in[2] = {};
      Op chain[] = {write_op(Region::kMemory, offset, out, sizeof out),
                    read_op(Region::kMemory, offset, in, sizeof in)};
      ASSERT_TRUE(t.execute(peer, chain).has_value());
      EXPECT_EQ(in[0], out[0]);
      EXPECT_EQ(in[1], out[1]);
    }
    EXPECT_EQ(run_one(t, peer, fetch_add_op(Region::kMeta, kGigabyte - 8, 3)), 0u);
    EXPECT_EQ(run_one(t, t.self(), cas_op(Region::kMeta, kGigabyte / 2, 0, 1)), 0u);
    EXPECT_LE(verbs_counters(t).registered, 16u << 20);
  });
}

// The home adds with its own CPU's view of the transport, the other through the card. If the home used the processor's
// atomics where the card's are not coherent with them, additions would be lost.
TEST(TransportVerbs, TheHomeChangesWordsThroughTheCard) {
  constexpr std::uint64_t kEach = 20000;
  VerbsWorld world(2, kMemoryBytes, kMetaBytes);
  Shared<Meeting> meeting;
  run_nodes(world, 2, [&](Transport& t) {
    if (t.cpu_atomics_agree()) return;
    run_one(t, 0, fetch_add_op(Region::kMeta, 64, 0));  // learns the key
    meeting->meet(2);
    const std::uint64_t before = verbs_counters(t).operations;
    for (std::uint64_t i = 0; i < kEach; ++i) run_one(t, 0, fetch_add_op(Region::kMeta, 64, 1));
    EXPECT_EQ(verbs_counters(t).operations - before, kEach) << "additions that the card did not make";
    meeting->meet(2);
    EXPECT_EQ(run_one(t, 0, fetch_add_op(Region::kMeta, 64, 0)), 2 * kEach);
  });
}

TEST(TransportVerbs, AChainIsAsManyOperationsAsItHasPartsAndOneDoorbell) {
  VerbsWorld world(2, kMemoryBytes, kMetaBytes);
  run_nodes(world, 2, [](Transport& t) {
    if (t.self() != 0) return;
    std::byte page[kPageBytes] = {};
    Op chain[] = {cas_op(Region::kMeta, 64, 0, 1), read_op(Region::kMemory, 0, page, sizeof page)};
    ASSERT_TRUE(t.execute(1, chain).has_value());  // learns the keys
    const VerbsCounters before = verbs_counters(t);
    ASSERT_TRUE(t.execute(1, chain).has_value());
    EXPECT_EQ(verbs_counters(t).operations - before.operations, 2u);
    EXPECT_EQ(verbs_counters(t).chains - before.chains, 1u);
  });
}

// More operations than a lane holds, more bytes than its buffer, a piece in each of two units.
TEST(TransportVerbs, ChainsOfAnySizeWork) {
  constexpr std::uint32_t kBytes = 3 << 20;
  VerbsWorld world(2, 8 << 20, kMetaBytes);
  run_nodes(world, 2, [](Transport& t) {
    const auto peer = static_cast<NodeId>(1 - t.self());
    std::vector<std::uint32_t> out(kBytes / 4), in(kBytes / 4);
    for (std::uint32_t i = 0; i < out.size(); ++i) out[i] = i * 7 + t.self();
    std::vector<Op> chain = {write_op(Region::kMemory, 100, out.data(), kBytes)};
    for (unsigned i = 0; i < 500; ++i) chain.push_back(fetch_add_op(Region::kMeta, 64, 1));
    chain.push_back(read_op(Region::kMemory, 100, in.data(), kBytes));
    ASSERT_TRUE(t.execute(peer, chain).has_value());
    for (unsigned i = 0; i < 500; ++i) ASSERT_EQ(chain[1 + i].old, i);
    EXPECT_EQ(in, out);
  });
}

// A lent mapping of `bytes` that a large read has used until it is registered, or for a while.
std::byte* lend_and_use(Transport& t, std::size_t bytes, bool until_registered) {
  auto* const at =
      static_cast<std::byte*>(mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  t.lend(at, bytes);
  const std::uint64_t before = verbs_counters(t).lent;
  for (int i = 0; until_registered ? verbs_counters(t).lent == before : i < 20; ++i) {
    Op op = read_op(Region::kMemory, 0, at, static_cast<std::uint32_t>(std::min(bytes, kMemoryBytes)));
    EXPECT_TRUE(t.execute(static_cast<NodeId>(1 - t.self()), {&op, 1}).has_value());
  }
  return at;
}

void await_lent(const Transport& t, std::uint64_t bytes) {
  while (verbs_counters(t).lent != bytes) std::this_thread::yield();
}

TEST(TransportVerbs, LentMemoryIsRegisteredWithinItsLimitAndMakesRoom) {
  constexpr std::size_t kBytes = 256 << 10;
  VerbsWorld world(2, kMemoryBytes, kMetaBytes);
  world.params().lent_bytes = 2 * kBytes;
  Shared<Meeting> meeting;
  run_nodes(world, 2, [&](Transport& t) {
    std::byte* const first = lend_and_use(t, kBytes, true);
    std::byte* const second = lend_and_use(t, kBytes, true);
    std::byte* const third = lend_and_use(t, kBytes, false);  // the others were used a moment ago
    EXPECT_LE(verbs_counters(t).lent, 2 * kBytes);
    const VerbsCounters before = verbs_counters(t);
    Op op = read_op(Region::kMemory, 0, second, kBytes);
    ASSERT_TRUE(t.execute(static_cast<NodeId>(1 - t.self()), {&op, 1}).has_value());
    EXPECT_EQ(verbs_counters(t).operations - before.operations, 1u) << "the card reads it into place, at once";
    t.unmap_lent(first, kBytes);
    await_lent(t, kBytes);
    t.unmap_lent(second, kBytes);
    t.unmap_lent(third, kBytes);
    await_lent(t, 0);
    meeting->meet(2);
  });
}

// Its nodes may lock few bytes. (Root may lock what it likes.)
class LimitedWorld final : public VerbsWorld {
 public:
  LimitedWorld() : VerbsWorld(2, kMemoryBytes, kMetaBytes) {}
  std::unique_ptr<Transport> join(NodeId self) override {
    const rlimit limit{16 << 20, 16 << 20};
    EXPECT_EQ(setrlimit(RLIMIT_MEMLOCK, &limit), 0);
    EXPECT_EQ(setresuid(65534, 65534, 65534), 0);
    return VerbsWorld::join(self);
  }
};

// What cannot be registered is copied.
TEST(TransportVerbs, LentMemoryThatCannotBeRegisteredIsUsedAllTheSame) {
  LimitedWorld world;
  Shared<Meeting> meeting;
  run_nodes(world, 2, [&](Transport& t) {
    constexpr std::size_t kTooMuch = 32 << 20;
    t.unmap_lent(lend_and_use(t, kTooMuch, false), kTooMuch);
    EXPECT_EQ(verbs_counters(t).lent, 0u);
    EXPECT_EQ(t.failed(), 0u);
    meeting->meet(2);
  });
}

TEST(TransportVerbs, ANodeThatIsStoppedIsReadAndWritten) {
  VerbsWorld world(2, kMemoryBytes, kMetaBytes);
  struct Table {
    std::atomic<std::uint32_t> ready, go, done;
  };
  Shared<Table> table;
  Nodes nodes(world, 2, [&](Transport& t) {
    if (t.self() == 1) {
      announce(table->ready, 1);
      await(table->done, 1);
      return;
    }
    await(table->go, 1);
    std::uint64_t seen = 0;
    const std::uint64_t value = 42;
    Op chain[] = {write_op(Region::kMemory, 4096, &value, 8), fetch_add_op(Region::kMeta, 0, 1),
                  read_op(Region::kMemory, 4096, &seen, 8)};
    for (int i = 0; i < 100; ++i) EXPECT_TRUE(t.execute(1, chain).has_value());
    EXPECT_EQ(seen, 42u);
    announce(table->done, 1);
  });
  await(table->ready, 1);
  nodes.stop(1);
  announce(table->go, 1);
  await(table->done, 1);
  nodes.resume(1);
  nodes.join();
}

// A queue pair fails under a transfer, with others posted: each ends with an error, and so does all that comes later;
// what has nothing to do with that node goes on.
TEST(TransportVerbs, AQueuePairThatFailsIsTheEndOfItsNodeAndOfNothingElse) {
  VerbsWorld world(3, kMemoryBytes, kMetaBytes);
  Shared<Meeting> meeting;
  run_nodes(world, 3, [&](Transport& t) {
    meeting->meet(3);
    if (t.self() == 0) {
      std::vector<std::byte> bytes(kMemoryBytes), ahead(kMemoryBytes);
      Op op = read_op(Region::kMemory, 0, bytes.data(), kMemoryBytes);
      ASSERT_TRUE(t.execute(1, {&op, 1}).has_value());
      Op posted_op = read_op(Region::kMemory, 0, ahead.data(), kMemoryBytes);
      const auto posted = t.post(1, {&posted_op, 1});
      ASSERT_TRUE(posted.has_value());
      std::thread breaks([&] { verbs_break(t, 1); });
      Result<void> done;
      while ((done = t.execute(1, {&op, 1})).has_value()) {
      }
      breaks.join();
      EXPECT_EQ(done.error().code, Errc::kPeerDown);
      static_cast<void>(t.finish(1, *posted));  // it may have been through before
      EXPECT_EQ(t.failed(), node_bit(1));
      EXPECT_FALSE(t.post(1, {&posted_op, 1}).has_value());
      EXPECT_FALSE(t.send(1, {}).has_value());
      for (unsigned i = 0; i < 2 * kMaxNodes; ++i) EXPECT_EQ(run_one(t, 2, fetch_add_op(Region::kMeta, 0, 1)), i);
      const auto other = t.post(2, {&posted_op, 1});
      ASSERT_TRUE(other.has_value());
      EXPECT_TRUE(t.finish(2, *other).has_value());
    }
    meeting->meet(3);
  });
}

// Two nodes as plain children, because one of them does not live to the end.
class Victim {
 public:
  template <typename Survivor>
  explicit Victim(Survivor survivor) {
    survivor_ = start(0, survivor);
    victim_ = start(1, [this](Transport&) {
      announce(table_->ready, 1);
      for (;;) pause();
    });
    await(table_->ready, 1);
  }
  ~Victim() {
    kill(survivor_, SIGKILL);
    kill_now();
  }
  void kill_now() {
    if (victim_ == 0) return;
    kill(victim_, SIGKILL);
    waitpid(victim_, nullptr, 0);
    victim_ = 0;
  }
  int survivors_end() {
    int status = -1;
    waitpid(survivor_, &status, 0);
    return status;
  }

 private:
  template <typename Body>
  pid_t start(NodeId self, Body body) {
    std::fflush(nullptr);
    const pid_t pid = fork();
    if (pid != 0) return pid;
    alarm(60);
    const auto transport = world_.join(self);
    body(*transport);
    std::fflush(nullptr);
    _exit(::testing::Test::HasFailure() ? 1 : 0);
  }

  struct Table {
    std::atomic<std::uint32_t> ready;
  };
  VerbsWorld world_{2, kMemoryBytes, kMetaBytes};
  Shared<Table> table_;
  pid_t survivor_ = 0;
  pid_t victim_ = 0;
};

TEST(TransportVerbs, OperationsOnANodeThatDiedFailAndNameIt) {
  Victim pair([](Transport& t) {
    Op op = fetch_add_op(Region::kMeta, 0, 1);
    Result<void> done;
    while ((done = t.execute(1, {&op, 1})).has_value()) {
    }
    EXPECT_EQ(done.error().code, Errc::kPeerDown);
    EXPECT_EQ(t.failed(), node_bit(1));
    EXPECT_FALSE(t.execute(1, {&op, 1}).has_value());
    EXPECT_FALSE(t.send(1, {}).has_value());
    EXPECT_EQ(run_one(t, 0, fetch_add_op(Region::kMeta, 0, 0)), 0u) << "the own node is still there";
  });
  pair.kill_now();
  EXPECT_EQ(pair.survivors_end(), 0);
}

// The home may lock less memory than it is asked for: who asks gets an error, and everything else goes on.
TEST(TransportVerbs, MemoryThatCannotBeRegisteredIsAnErrorOfWhoNeedsIt) {
  VerbsWorld world(2, 64 * kGigabyte, kGigabyte);
  struct Table {
    std::atomic<std::uint32_t> limited, done;
  };
  Shared<Table> table;
  run_nodes(world, 2, [&](Transport& t) {
    if (t.self() == 1) {
      const rlimit none{0, 0};
      ASSERT_EQ(setrlimit(RLIMIT_MEMLOCK, &none), 0);
      ASSERT_EQ(setresuid(65534, 65534, 65534), 0) << "root may lock what it likes";
      announce(table->limited, 1);
      await(table->done, 1);
      return;
    }
    await(table->limited, 1);
    Op op = fetch_add_op(Region::kMeta, kGigabyte / 2, 1);
    for (int i = 0; i < 2; ++i) {
      const auto refused = t.execute(1, {&op, 1});
      ASSERT_FALSE(refused.has_value());
      EXPECT_EQ(refused.error().code, Errc::kNoMemory);
    }
    EXPECT_EQ(t.failed(), 0u);
    EXPECT_EQ(run_one(t, 0, fetch_add_op(Region::kMeta, kGigabyte / 2, 1)), 0u);
    announce(table->done, 1);
  });
}

// The wire is cut under a transfer (only where the machine has one: the device rxea is on the interface va).
TEST(TransportVerbs, ACutWireIsAnErrorAndNoHang) {
  if (std::system("test -e /sys/class/net/va && tc qdisc show dev va >/dev/null 2>&1") != 0) {
    GTEST_SKIP() << "there is no wire here: run it with scripts/rdma-vm --topology wire";
  }
  VerbsWorld world(2, 64 << 20, kMetaBytes);
  Shared<Meeting> meeting;
  run_nodes(world, 2, [&](Transport& t) {
    std::vector<std::byte> bytes(8 << 20);
    Op op = read_op(Region::kMemory, 0, bytes.data(), static_cast<std::uint32_t>(bytes.size()));
    if (t.self() == 0) {
      ASSERT_TRUE(t.execute(1, {&op, 1}).has_value());
      std::thread cut([] { ASSERT_EQ(std::system("tc qdisc add dev va root netem loss 100%"), 0); });
      Result<void> done;
      while ((done = t.execute(1, {&op, 1})).has_value()) {
      }
      cut.join();
      EXPECT_EQ(done.error().code, Errc::kPeerDown);
      EXPECT_EQ(t.failed(), node_bit(1));
      EXPECT_EQ(std::system("tc qdisc del dev va root"), 0);
    }
    meeting->meet(2);
  });
}

TEST(TransportVerbs, WhoOnlySendsMessagesFindsOutToo) {
  Victim pair([](Transport& t) {
    const std::uint32_t text = 7;
    while (t.send(1, bytes_of(text)).has_value()) {
      t.poll([](NodeId, std::span<const std::byte>) {}, 1);
      t.wait(Waiter::kService, 1'000'000);
    }
    EXPECT_EQ(t.failed(), node_bit(1));
  });
  pair.kill_now();
  EXPECT_EQ(pair.survivors_end(), 0);
}

}  // namespace
}  // namespace dsm::net::test
