// The RDMA device, port and address that a node uses, and what they can do.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "net/verbs_address.h"
#include "net/verbs_library.h"
#include "net/verbs_transport.h"

namespace dsm::net::verbs {

class Device {
 public:
  static Result<Device> open(const VerbsParams& params);
  Device(Device&& other) noexcept;
  Device& operator=(Device&& other) = delete;
  ~Device();

  const Library& library() const { return *library_; }
  ibv_context* context() const { return context_; }
  ibv_pd* domain() const { return domain_; }
  const ibv_device_attr& limits() const { return limits_; }
  const ibv_port_attr& port() const { return port_; }
  std::uint8_t port_number() const { return port_number_; }
  std::uint8_t gid_index() const { return gid_index_; }
  const ibv_gid& gid() const { return gid_; }
  bool ethernet() const { return port_.link_layer == IBV_LINK_LAYER_ETHERNET; }
  bool cpu_atomics_agree() const { return limits_.atomic_cap == IBV_ATOMIC_GLOB; }
  bool pages_on_demand() const { return on_demand_; }
  const std::string& name() const { return name_; }

  // Registers shared memory for all that other nodes do with it. nullptr with errno; explained in the log.
  ibv_mr* register_memory(void* at, std::uint64_t bytes, bool on_demand) const;

 private:
  explicit Device(const Library* library) : library_(library) {}
  Result<void> open_named(ibv_device* device, const VerbsParams& params, const std::optional<Place>& place);
  Result<void> choose_port(unsigned wanted);
  Result<void> choose_gid(int wanted, const std::optional<Place>& place);

  const Library* library_;
  ibv_context* context_ = nullptr;
  ibv_pd* domain_ = nullptr;
  ibv_device_attr limits_{};
  ibv_port_attr port_{};
  std::uint8_t port_number_ = 0;
  std::uint8_t gid_index_ = 0;
  ibv_gid gid_{};
  bool on_demand_ = false;
  std::string name_;
};

}  // namespace dsm::net::verbs
