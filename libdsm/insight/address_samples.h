// Which addresses a node's threads touch, by sample: perf_event_open with PERF_SAMPLE_ADDR. Where the processor can
// tell the address of a load (libpfm4's precise memory events, AMD's IBS) it is loads, whether they fault or not;
// elsewhere the kernel's page-fault event, which has addresses too. The profile says which it was, or why there is
// none.
//
// A thread of its own, dsm-samples, looks for the program's threads, gives each a ring of fixed size, and carries what
// is in the rings into the profile. A thread that lives shorter than two looks may go unseen. Rings of faults are there
// for 20 ms in 2.5 s only.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <thread>
#include <vector>

#include "insight/profile.h"

namespace dsm::insight {

// One record of a ring, as the events here are opened: {header, ip, pid, tid, time, address [, weight]}.
struct RingRecord {
  enum class Kind : std::uint8_t { kSample, kLost, kOther } kind = Kind::kOther;
  AddressSample sample{};
  std::uint64_t lost = 0;
};
// Takes the first record off `bytes`; a record that makes no sense ends it all.
RingRecord take_record(std::span<const std::byte>& bytes);

class AddressSampler {
 public:
  struct Range {
    std::uint64_t begin, bytes;
  };
  // Addresses outside of the range are counted and not kept.
  AddressSampler(NodePart& part, Range range) : part_(part), range_(range) {}
  ~AddressSampler() { stop(); }
  AddressSampler(const AddressSampler&) = delete;
  AddressSampler& operator=(const AddressSampler&) = delete;

  void start();
  void stop();  // carries the last samples; idempotent

 private:
  struct Ring {
    std::int32_t tid;
    int file;
    void* mapped;  // a page of control and kRingPages of records
    bool seen;     // its thread, at the last look
  };

  static constexpr std::size_t kRingPages = 2;
  static constexpr std::size_t kMostRings = 64;

  bool choose_event();
  void loop();
  void look_for_threads();
  void open_ring(std::int32_t tid);
  void close_rings();
  void close_ring(const Ring& ring);
  void carry(const Ring& ring);
  void keep(const AddressSample& sample);

  NodePart& part_;
  const Range range_;
  std::vector<std::byte> attributes_;  // perf_event_attr
  std::vector<Ring> rings_;
  std::vector<std::int32_t> refused_;  // threads without one
  std::thread thread_;
  std::atomic<std::uint32_t> stopping_{0};
};

}  // namespace dsm::insight
