// What lies in a mailbox is checked before it is used: damage ends the traffic with one node and crashes nobody.
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <random>

#include "net/shm_transport.h"
#include "net/shm_wire.h"
#include "tests/contract/transport_world.h"

namespace dsm::net::test {
namespace {

constexpr unsigned kNodes = 3;

// Three nodes in one process, and a hand in node 1's mailbox.
class ShmDamage : public ::testing::Test {
 protected:
  void SetUp() override { start(); }
  void start() {
    world_ = make_shm_world(kNodes, "");
    for (NodeId node = 0; node < kNodes; ++node) nodes_[node] = world_->join(node);
  }
  shm::Mailbox& mailbox() {
    std::byte* meta = nodes_[1]->local_region(Region::kMeta);
    return *reinterpret_cast<shm::Mailbox*>(meta + shm::mailbox_offset(kMetaBytes));
  }
  Transport& node(NodeId node) { return *nodes_[node]; }
  void send(NodeId from, std::uint32_t number) { EXPECT_TRUE(node(from).send(1, bytes_of(number)).has_value()); }
  // What node 1 finds: the numbers by sender.
  std::vector<std::uint32_t> take(NodeId from) {
    while (node(1).poll(sink_, 100) > 0) {
    }
    return std::exchange(taken_[from], {});
  }

 private:
  std::unique_ptr<World> world_;
  std::unique_ptr<Transport> nodes_[kNodes];
  std::vector<std::uint32_t> taken_[kNodes];
  const MessageSink sink_ = [this](NodeId from, std::span<const std::byte> bytes) {
    taken_[from].push_back(value_of<std::uint32_t>(bytes));
  };
};

using Numbers = std::vector<std::uint32_t>;

struct Damage {
  const char* what;
  std::function<void(shm::SlotWord&, shm::Slot&)> make;
};
class ShmSlotDamage : public ShmDamage, public ::testing::WithParamInterface<Damage> {};

TEST_P(ShmSlotDamage, EndsTheTrafficWithItsSender) {
  for (int burst = 0; burst < 3; ++burst) {  // more than a lap
    for (std::uint32_t i = 0; i < 100; ++i) send(0, i);
    EXPECT_EQ(take(0).size(), 100u);
  }
  send(0, 1);
  send(0, 2);
  send(0, 3);
  shm::Slot& slot = mailbox().ring(0).slot(301);
  shm::SlotWord word = shm::unpack(slot.word.load());
  GetParam().make(word, slot);
  slot.word.store(shm::pack(word));
  send(2, 7);

  EXPECT_EQ(take(0), Numbers{1}) << "what came before is good";
  EXPECT_EQ(take(2), Numbers{7});
  EXPECT_EQ(node(1).failed(), node_bit(0));
  const auto sent = node(1).send(0, {});
  ASSERT_FALSE(sent.has_value());
  EXPECT_EQ(sent.error().code, Errc::kProtocol);
  Op op = fetch_add_op(Region::kMeta, 0, 1);
  const auto executed = node(1).execute(0, {&op, 1});
  ASSERT_FALSE(executed.has_value());
  EXPECT_EQ(executed.error().code, Errc::kProtocol);

  send(0, 4);
  send(2, 8);
  node(1).wait(Waiter::kService, -1);  // there is work: node 2's message
  EXPECT_EQ(take(2), Numbers{8});
  EXPECT_EQ(take(0), Numbers{});
  EXPECT_TRUE(node(1).send(2, {}).has_value());
}

const Damage kDamages[] = {
    {"magic", [](shm::SlotWord& word, shm::Slot&) { word.magic ^= 1; }},
    {"version", [](shm::SlotWord& word, shm::Slot&) { ++word.version; }},
    {"sender", [](shm::SlotWord& word, shm::Slot&) { word.sender = 2; }},
    {"no_such_sender", [](shm::SlotWord& word, shm::Slot&) { word.sender = kNoNode; }},
    {"length", [](shm::SlotWord& word, shm::Slot&) { word.length = kMaxMessageBytes + 1; }},
    {"skipped", [](shm::SlotWord& word, shm::Slot&) { ++word.sequence; }},
    {"far_ahead", [](shm::SlotWord& word, shm::Slot&) { word.sequence += 256; }},
    {"two_laps_old", [](shm::SlotWord& word, shm::Slot&) { word.sequence -= 512; }},
    {"zeroed", [](shm::SlotWord& word, shm::Slot&) { word = {}; }},
    {"due", [](shm::SlotWord&, shm::Slot& slot) { slot.due_ns.store(INT64_MAX); }},
    {"due_before_time", [](shm::SlotWord&, shm::Slot& slot) { slot.due_ns.store(-1); }},
};
INSTANTIATE_TEST_SUITE_P(Damages, ShmSlotDamage, ::testing::ValuesIn(kDamages),
                         [](const auto& damage) { return damage.param.what; });

TEST_F(ShmDamage, AnImpossibleCountOfTakenMessagesIsAnError) {
  for (const std::uint64_t bad : {shm::kRingSlots + 1, std::uint64_t{1} << 40, UINT64_MAX}) {
    start();
    mailbox().ring(2).consumed.store(bad);
    for (std::uint32_t i = 0; i < shm::kRingSlots; ++i) send(2, i);
    const auto sent = node(2).send(1, {});
    ASSERT_FALSE(sent.has_value());
    EXPECT_EQ(sent.error().code, Errc::kProtocol);
    EXPECT_EQ(node(2).failed(), node_bit(1));
    node(2).wait(Waiter::kService, 0);
    EXPECT_EQ(take(2).size(), shm::kRingSlots) << "the receiver does not read back what others can change";
  }
}

TEST_F(ShmDamage, ACountThatGoesBackIsAnError) {
  for (std::uint32_t i = 0; i < shm::kRingSlots; ++i) send(2, i);
  EXPECT_EQ(take(2).size(), shm::kRingSlots);
  for (std::uint32_t i = 0; i < shm::kRingSlots; ++i) send(2, i);
  mailbox().ring(2).consumed.store(shm::kRingSlots - 1);
  EXPECT_FALSE(node(2).send(1, {}).has_value());
  EXPECT_EQ(node(2).failed(), node_bit(1));
}

TEST_F(ShmDamage, RandomBytesCrashNobody) {
  std::mt19937_64 random(1);
  const MessageSink sink = [](NodeId, std::span<const std::byte> bytes) { ASSERT_LE(bytes.size(), kMaxMessageBytes); };
  for (int world = 0; world < 20; ++world) {
    const auto own = make_shm_world(kNodes, world % 2 == 0 ? "" : "1000:1000:1000");
    std::unique_ptr<Transport> nodes[kNodes];
    for (NodeId i = 0; i < kNodes; ++i) nodes[i] = own->join(i);
    std::byte* meta = nodes[1]->local_region(Region::kMeta);
    auto* words = reinterpret_cast<std::uint64_t*>(meta + shm::mailbox_offset(kMetaBytes));
    const std::size_t count = (sizeof(shm::Mailbox) + kNodes * sizeof(shm::Ring)) / 8;
    for (int step = 0; step < 1000; ++step) {
      const std::size_t dense = random() % 2 == 0 ? count : 600;  // the bells and the first slots more often
      const std::uint64_t value = random() % 2 == 0 ? random() : random() % 4;
      __atomic_store_n(words + 8 + random() % (dense - 8), value, __ATOMIC_RELAXED);
      for (NodeId i = 0; i < kNodes; ++i) {
        const auto sent = nodes[i]->send(static_cast<NodeId>(random() % kNodes), bytes_of(value));
        ASSERT_TRUE(sent.has_value() || sent.error().code == Errc::kProtocol);
        nodes[i]->poll(sink, 10);
        nodes[i]->wait(Waiter::kService, 0);
        ASSERT_TRUE(nodes[i]->claim_access());
        nodes[i]->release_access();
        nodes[i]->wake(Waiter::kAccess);
      }
    }
  }
}

// With every thread awake, an operation, a message and a poll are no system call: under strict seccomp one would kill.
TEST_F(ShmDamage, NobodyAsleepNoSystemCall) {
  if (kThreadSanitizer) GTEST_SKIP() << "ThreadSanitizer makes system calls of its own";
  const auto world = make_shm_world(2, "");
  const auto zero = world->join(0);
  const auto one = world->join(1);
  unsigned seen = 0;
  const MessageSink sink = [&](NodeId, std::span<const std::byte>) { ++seen; };
  const auto work = [&] {
    Op op = fetch_add_op(Region::kMeta, 0, 1);
    for (int i = 0; i < 1000; ++i) {
      if (!zero->execute(1, {&op, 1}) || !zero->send(1, {}) || one->poll(sink, 4) != 1) return 1;
    }
    return 0;
  };
  EXPECT_EQ(work(), 0);  // touches all memory
  const pid_t pid = fork();
  if (pid == 0) {
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT);
    syscall(SYS_exit, work());
  }
  int status = 0;
  ASSERT_EQ(waitpid(pid, &status, 0), pid);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "status " << status;
}

}  // namespace
}  // namespace dsm::net::test
