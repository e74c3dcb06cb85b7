// Threads of this node that run what other nodes, or its own program, have given it to do. The work may block for as
// long as it likes: when all threads are busy and nothing was begun for a millisecond, one more is started; those
// beyond the first few end when there is nothing to do. Tasks begin in the order given.
//
// Any thread gives tasks. The threads have the program's signals blocked, but for those that an access raises.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace dsm::placed {

// A thread of the node for the program's own code.
void start_thread(const char* name, std::function<void()> body);

class Workers {
 public:
  Workers();
  void run(std::function<void()> task);

 private:
  void work();
  void keep();
  void add();  // holding lock_

  const unsigned base_;
  std::mutex lock_;  // the rest
  std::condition_variable work_, stuck_;
  std::deque<std::function<void()>> tasks_;
  unsigned threads_ = 0, idle_ = 0;
  std::uint64_t begun_ = 0;
  bool kept_ = false;
};

Workers& workers();

}  // namespace dsm::placed
