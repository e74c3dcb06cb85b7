// Chains of READs and FETCH_ADDs by the verbs alone, as a perftest program would do them: one queue pair that leads
// back to itself on the device that the node uses, registered memory at both ends, one doorbell a chain, a busy look at
// the completion queue. The peer of what libdsm does in one chain, which perftest has no program for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace dsm::bench {

class BareChain {
 public:
  BareChain(const std::string& device, std::size_t most_bytes);
  ~BareChain();
  BareChain(const BareChain&) = delete;
  BareChain& operator=(const BareChain&) = delete;

  // One after the other, in one chain: READs of so many bytes, or a FETCH_ADD.
  static constexpr std::uint32_t kFetchAdd = 0;
  void run(std::span<const std::uint32_t> steps);

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace dsm::bench
