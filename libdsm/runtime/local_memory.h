// The bound on local memory: how many pages of other nodes this node holds, and who makes room for more. Exists only in
// a job with memory nodes. Which page goes is proto::Eviction's choice; how it goes is the page protocol's: released
// (written back if this node has written it), then its bytes are cut out of this node's memory file.
//
// 1. A page is `here` while the memory file holds bytes for it; it is charged for that. charged_ also counts room that
//    was promised, and stays within the bound, but for pages that come with a message another node has sent.
// 2. A page is `resting` only while the program cannot touch it, although the protocol may allow it to: it is being
//    watched, or was never touched. The next fault maps it, with no communication.
// 3. Both change under the page's Entry::lock only. lock_ guards the policy and is the last to be taken.
// 4. The thread "dsm-evict" makes room ahead of need; a fault makes its own only when that is used up. When there is
//    room enough it writes the changed pages home that are to go next.
// All calls are safe in signal context; outside of it with signals blocked.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <thread>

#include "base/futex.h"
#include "base/result.h"
#include "base/types.h"
#include "proto/eviction.h"
#include "runtime/batch.h"

namespace dsm::runtime {

struct Node;

class LocalMemory {
 public:
  static Result<std::unique_ptr<LocalMemory>> create(Node& node);
  ~LocalMemory();
  void start();  // the thread

  bool covers(PageId page) const;
  bool here(PageId page) const { return frames_[page].here.load(std::memory_order_relaxed); }
  bool resting(PageId page) const { return frames_[page].resting.load(std::memory_order_relaxed); }

  // Promises room for a page, at the price of others if need be. Not with an Entry::lock held.
  void make_room();
  // Promises room for as many of `pages` as there is without any price.
  std::uint32_t spare_room(std::uint32_t pages);
  void give_back(std::uint32_t pages) { charged_.fetch_sub(pages); }

  // With the page's Entry::lock held:
  void filled(PageId page);  // its bytes have come, or will at once
  void unmapped(PageId page) { frames_[page].resting.store(true, std::memory_order_relaxed); }
  void mapped(PageId page) { frames_[page].resting.store(false, std::memory_order_relaxed); }
  bool foresees_write(PageId page) { return frames_[page].rewrites.foresee(); }  // it comes because it is read
  void written(PageId page) { frames_[page].rewrites.written(); }                // it was here to be read only
  void came_back(PageId page);                          // a resting page is mapped because the program has touched it
  void cut(PageRange pages);                            // nobody needs their bytes here
  void read_out(PageRange pages, std::byte* to) const;  // zeroes where there are none

  // The content of these pages of this node's is dead: drops it, here and at home. False if not all of them could be
  // had; those are as they were.
  bool discard(PageRange pages);

  // A fault has been served: perhaps it is time to lay some pages to rest. Not with an Entry::lock held.
  void rest_some();

 private:
  static constexpr std::uint32_t kRound = 64;      // pages at a time
  static constexpr std::uint32_t kRestRound = 32;  // so many have to come before some are laid to rest

  LocalMemory(Node& node, proto::Frame* frames, PageId* young, PageId* main, std::uint32_t bound);
  void loop();
  void ring();
  template <typename Next, typename Act, typename Busy>
  std::uint32_t for_chosen(std::uint32_t most, Next next, Act act, Busy busy);
  bool rest_is_due() const;
  void rest_if_due();  // of the thread
  void put_out(std::uint32_t most);
  void lay_to_rest();
  void keep(PageId page);
  void await_cut(std::uint32_t seen);
  void cut_released(const Batch& batch);
  bool clean_some();

  Node& node_;
  proto::Frame* const frames_;
  const std::uint32_t bound_, fill_to_, wake_above_;  // pages
  std::atomic<std::uint32_t> charged_{0};
  FutexLock putting_out_;                    // held while pages are put out
  FutexLock resting_some_;                   // ... laid to rest
  std::atomic<std::uint32_t> unwatched_{0};  // pages that have come since some were laid to rest
  FutexLock lock_;
  proto::Eviction policy_;
  std::atomic<std::uint32_t> cuts_{0};     // bumped when room has come up
  std::atomic<std::uint32_t> stalled_{0};  // threads that wait for that
  std::atomic<std::uint32_t> rung_{0};     // 0: the thread sleeps, or is about to look once more
  std::atomic<bool> awake_{true};          // the thread does not sleep
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

// Room for pages that a thread is about to fetch; what it has not used is given back.
class Room {
 public:
  explicit Room(LocalMemory* local) : local_(local) {}
  ~Room() { drop(); }
  Room(const Room&) = delete;
  Room& operator=(const Room&) = delete;

  bool has() const { return pages_ != 0; }
  void make() {
    local_->make_room();
    pages_ = 1;
  }
  std::uint32_t spare(std::uint32_t pages) { return pages_ = local_->spare_room(pages); }
  void drop() {
    if (pages_ != 0) local_->give_back(pages_);
    pages_ = 0;
  }

 private:
  LocalMemory* const local_;
  std::uint32_t pages_ = 0;
};

}  // namespace dsm::runtime
