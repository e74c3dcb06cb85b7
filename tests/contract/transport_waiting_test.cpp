// Sleeping and waking: nothing is lost or stranded, whoever sleeps, leaves or polls. A lost wake-up shows as a process
// that hangs and is ended by its alarm: every wait here is for ever unless the test says otherwise.
#include <random>
#include <thread>

#include "base/futex.h"
#include "tests/contract/transport_world.h"

namespace dsm::net::test {
namespace {

class TransportWaiting : public TransportTest {};
DSM_ON_EVERY_WORLD(TransportWaiting);

struct Mail {
  bool reply;
  std::uint32_t thread;
  std::uint32_t number;  // 0: the end
};

// A node with a service thread, as the runtime has one. Requests are answered by whoever polls; a reply is counted in
// the asking thread's word.
class Desk {
 public:
  static constexpr unsigned kThreads = 4;

  explicit Desk(Transport& transport) : transport_(transport) {
    service_ = std::thread([this] { serve(transport_, sink_, [this] { return stop_.load(); }); });
  }
  ~Desk() {
    stop_ = true;
    transport_.wake(Waiter::kService);
    service_.join();
  }

  void ask(NodeId node, std::uint32_t thread, std::uint32_t number) {
    const Waiter whom = number % 2 == 0 ? Waiter::kService : Waiter::kAccess;
    EXPECT_TRUE(transport_.send(node, bytes_of(Mail{false, thread, number}), whom).has_value());
  }
  bool answered(std::uint32_t thread, std::uint32_t number) const { return answers_[thread].load() == number; }

  // Waits as the node's access waiter; false if another thread is it.
  bool await_as_access(std::uint32_t thread, std::uint32_t number) {
    if (!transport_.claim_access()) return false;
    while (!answered(thread, number)) {
      if (transport_.poll(sink_, 1) == 0) transport_.wait(Waiter::kAccess, -1);
    }
    transport_.release_access();
    return true;
  }
  // Is there as access waiter for a moment and leaves without a look at what it was rung for.
  void pass_by_as_access(std::int64_t timeout_ns) {
    if (!transport_.claim_access()) return;
    transport_.wait(Waiter::kAccess, timeout_ns);
    transport_.release_access();
  }
  // Leaves the messages to others.
  void await_quietly(std::uint32_t thread, std::uint32_t number) {
    while (!answered(thread, number)) futex_wait(answers_[thread], number - 1, FutexScope::kProcess);
  }

 private:
  void handle(NodeId from, std::span<const std::byte> bytes) {
    const auto mail = value_of<Mail>(bytes);
    if (!mail.reply) {
      EXPECT_TRUE(transport_.send(from, bytes_of(Mail{true, mail.thread, mail.number})).has_value());
      return;
    }
    EXPECT_EQ(answers_[mail.thread].load() + 1, mail.number);
    answers_[mail.thread].store(mail.number);
    futex_wake(answers_[mail.thread], 1, FutexScope::kProcess);
    transport_.wake(Waiter::kAccess);
  }

  Transport& transport_;
  const MessageSink sink_ = [this](NodeId from, std::span<const std::byte> bytes) { handle(from, bytes); };
  std::atomic<std::uint32_t> answers_[kThreads] = {};
  std::atomic<bool> stop_{false};
  std::thread service_;
};

TEST_P(TransportWaiting, PingPongInRandomRoles) {
  const std::uint32_t kRounds = rounds(20000);
  const auto world = make_world(2);
  Shared<Meeting> end;
  run_nodes(*world, 2, [&](Transport& t) {
    {
      Desk desk(t);
      std::mt19937 random(t.self() + 1u);
      const auto peer = static_cast<NodeId>(1 - t.self());
      for (std::uint32_t i = 1; i <= kRounds / 2; ++i) {
        desk.ask(peer, 0, i);
        if (random() % 2 == 0 && desk.await_as_access(0, i)) continue;
        desk.await_quietly(0, i);
      }
      end->meet(2);  // the service thread answers until both are through
    }
  });
}

// Node 1 is always awake, so its answers come just when node 0 falls asleep: before, in and after each step of it.
TEST_P(TransportWaiting, AnswersThatComeWhileFallingAsleep) {
  const std::uint32_t kRounds = rounds(50000);
  const auto world = make_world(2);
  run_nodes(*world, 2, [kRounds](Transport& t) {
    std::uint32_t last = 0;
    const MessageSink sink = [&](NodeId from, std::span<const std::byte> bytes) {
      last = value_of<std::uint32_t>(bytes);
      if (t.self() == 1) {
        EXPECT_TRUE(t.send(from, bytes).has_value());
      }
    };
    if (t.self() == 1) {
      while (last < kRounds) t.poll(sink, 1);
      return;
    }
    std::mt19937 random(3);
    for (std::uint32_t i = 1; i <= kRounds; ++i) {
      const Waiter who = random() % 2 == 0 ? Waiter::kService : Waiter::kAccess;
      const bool claimed = who == Waiter::kAccess && t.claim_access();
      ASSERT_TRUE(t.send(1, bytes_of(i)).has_value());
      for (std::uint64_t pause = random() % 16; pause > 0; --pause) cpu_relax();
      while (last < i) {
        t.wait(who, -1);
        t.poll(sink, 1);
      }
      if (claimed) t.release_access();
    }
  });
}

TEST_P(TransportWaiting, AnAccessWaiterThatLeavesStrandsNothing) {
  const std::uint32_t kRounds = rounds(5000);
  const auto world = make_world(2);
  Shared<Meeting> end;
  run_nodes(*world, 2, [&](Transport& t) {
    Desk desk(t);
    std::mt19937 random(t.self() + 10u);
    const auto peer = static_cast<NodeId>(1 - t.self());
    for (std::uint32_t i = 1; i <= kRounds; ++i) {
      desk.ask(peer, 0, i);
      desk.pass_by_as_access(random() % 4 == 0 ? 20'000 : random() % 20'000);
      desk.await_quietly(0, i);
    }
    end->meet(2);
  });
}

TEST_P(TransportWaiting, ManyThreadsOfManyNodesAllGetTheirAnswers) {
  constexpr unsigned kNodes = 3;
  const std::uint32_t kRounds = rounds(1500);
  const auto world = make_world(kNodes);
  Shared<Meeting> end;
  run_nodes(*world, kNodes, [&](Transport& t) {
    Desk desk(t);
    const auto work = [&](std::uint32_t thread) {
      std::mt19937 random(t.self() * Desk::kThreads + thread);
      for (std::uint32_t i = 1; i <= kRounds; ++i) {
        desk.ask(static_cast<NodeId>(random() % kNodes), thread, i);
        switch (random() % 3) {
          case 0:
            desk.pass_by_as_access(random() % 50'000);
            break;
          case 1:
            if (desk.await_as_access(thread, i)) continue;
            break;
          default:
            break;
        }
        desk.await_quietly(thread, i);
      }
    };
    std::vector<std::thread> threads;
    for (std::uint32_t i = 0; i < Desk::kThreads; ++i) threads.emplace_back(work, i);
    for (std::thread& thread : threads) thread.join();
    end->meet(kNodes);
  });
}

// Both nodes send bursts larger than a ring and then sleep: only the receivers' rings move the overflows on.
TEST_P(TransportWaiting, OverflowsMoveOnWhileTheirSendersSleep) {
  constexpr std::uint32_t kBurst = 1000;
  constexpr std::uint32_t kBursts = 20;
  const auto world = make_world(2);
  run_nodes(*world, 2, [](Transport& t) {
    const auto peer = static_cast<NodeId>(1 - t.self());
    std::uint32_t got = 0;
    const auto sink = [&](NodeId, std::span<const std::byte> bytes) {
      EXPECT_EQ(value_of<std::uint32_t>(bytes), got++);
    };
    for (std::uint32_t burst = 0; burst < kBursts; ++burst) {
      for (std::uint32_t i = 0; i < kBurst; ++i) {
        ASSERT_TRUE(t.send(peer, bytes_of(burst * kBurst + i)).has_value());
      }
      serve(t, sink, [&] { return got >= (burst + 1) * kBurst; });
    }
    Op left = fetch_add_op(Region::kMeta, 0, 1);  // what is still in the overflow must go before the process may
    ASSERT_TRUE(t.execute(peer, {&left, 1}).has_value());
    while (run_one(t, t.self(), fetch_add_op(Region::kMeta, 0, 0)) == 0) t.poll(sink, 1);
  });
}

TEST_P(TransportWaiting, WakeEndsAWaitAndIsNotLostBeforeOne) {
  const int kRounds = static_cast<int>(rounds(5000));
  const auto world = make_world(1);
  run_nodes(*world, 1, [kRounds](Transport& t) {
    ASSERT_TRUE(t.claim_access());
    for (const Waiter who : {Waiter::kService, Waiter::kAccess}) {
      t.wake(who);
      t.wait(who, -1);
      std::atomic<int> asked{0};
      std::atomic<int> seen{0};
      std::thread waiter([&] {
        while (seen < kRounds) {
          while (asked.load() == seen.load()) t.wait(who, -1);
          ++seen;
        }
      });
      for (int i = 0; i < kRounds; ++i) {
        ++asked;
        t.wake(who);
        while (seen.load() <= i) std::this_thread::yield();
      }
      waiter.join();
    }
    t.release_access();
  });
}

TEST_P(TransportWaiting, AWaitWithATimeoutEnds) {
  const auto world = make_world(1);
  run_nodes(*world, 1, [](Transport& t) {
    ASSERT_TRUE(t.claim_access());
    for (const std::int64_t timeout_ns : {0, 1, 1000, 2'000'000}) {
      t.wait(Waiter::kService, timeout_ns);
      t.wait(Waiter::kAccess, timeout_ns);
    }
    t.release_access();
  });
}

TEST_P(TransportWaiting, OneThreadHasTheAccessClaim) {
  const auto world = make_world(1);
  const auto transport = world->join(0);
  EXPECT_TRUE(transport->claim_access());
  EXPECT_FALSE(transport->claim_access());
  transport->release_access();
  EXPECT_TRUE(transport->claim_access());
  transport->release_access();
  EXPECT_DEATH(transport->release_access(), "without claim_access");
  EXPECT_DEATH(transport->wait(Waiter::kAccess, 0), "without claim_access");
}

}  // namespace
}  // namespace dsm::net::test
