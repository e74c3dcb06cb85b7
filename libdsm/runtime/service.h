// The service thread: handles what other nodes send. While a thread of the program waits for a page, it handles the
// node's messages itself.
//
// 1. One thread at a time polls, and while it does nobody else can. So a message whose handling may wait for a lock
// that
//    a thread of the program holds (the heap's, the executor's), or that takes long (turning a chunk shared), is put on
//    the backlog by whoever polls. Only the service thread works on that, and not while it polls: the lock's holder may
//    itself be waiting, in a signal handler of the program, for a page and so for the next message.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <thread>

#include "base/futex.h"
#include "base/types.h"
#include "net/transport.h"
#include "proto/page.h"

namespace dsm::runtime {

struct Node;

class Service {
 public:
  explicit Service(Node& node);
  ~Service();

  void start();
  // Ends the thread. Messages that arrive later stay unread.
  void stop();

  // From a thread that waits as the access waiter, in signal context or not: handles some messages; how many.
  unsigned poll_for_access();
  // Turns a private chunk of this node's slice shared. Any thread, not in signal context.
  void share_chunk(PageId page);
  // Makes the service thread look after the backlog.
  void nudge() { node_transport_->wake(net::Waiter::kService); }

 private:
  static constexpr std::size_t kBacklog = 1024;
  struct Letter {
    std::uint16_t bytes;
    NodeId from;
    std::byte text[net::kMaxMessageBytes];
  };

  enum class On : std::uint8_t { kPolled, kBacklog };

  void loop();
  unsigned poll(std::uint32_t most);
  void on_letter(NodeId from, std::span<const std::byte> bytes, On on);
  void on_pages(NodeId from, const proto::PageMessage& message, On on);
  void share_if_private(NodeId from, const proto::PageMessage& message);
  void put_off(NodeId from, std::span<const std::byte> bytes);
  bool take_backlog();
  void publish_chunk(PageId first);

  Node& node_;
  net::Transport* node_transport_;
  std::thread thread_;
  std::atomic<bool> stopping_{false};
  const net::MessageSink sink_;

  FutexLock backlog_lock_;
  std::unique_ptr<Letter[]> backlog_;
  std::atomic<std::uint32_t> backlog_head_{0}, backlog_tail_{0};  // tail - head letters wait
};

}  // namespace dsm::runtime
