#include "net/verbs_device.h"

#include <sys/resource.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <string_view>

#include "base/log.h"

namespace dsm::net::verbs {
namespace {

bool query_port(ibv_context* context, std::uint8_t number, ibv_port_attr& port) {
  const verbs_context* const table = verbs_get_ctx_op(context, query_port);
  std::memset(&port, 0, sizeof port);
  return table != nullptr && table->query_port(context, number, &port, sizeof port) == 0;
}

// Of "a,b,c" the node's, in turn.
std::string name_for(const std::string& names, NodeId self) {
  std::vector<std::string> list(1);
  for (const char letter : names) {
    if (letter == ',') {
      list.emplace_back();
    } else {
      list.back() += letter;
    }
  }
  return list[self % list.size()];
}

bool ipv4(const ibv_gid& gid) {
  constexpr std::uint8_t kMapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  return std::memcmp(gid.raw, kMapped, sizeof kMapped) == 0;
}
bool link_local(const ibv_gid& gid) { return gid.raw[0] == 0xfe && (gid.raw[1] & 0xc0) == 0x80; }

// The better, the higher; 0: unusable.
int fitness(const ibv_gid_entry& entry, const std::optional<Place>& place) {
  const int known = place && std::memcmp(entry.gid.raw, place->gid.raw, sizeof entry.gid.raw) == 0 ? 100 : 0;
  if (entry.gid_type == IBV_GID_TYPE_IB) return known + 1;
  const int version = entry.gid_type == IBV_GID_TYPE_ROCE_V2 ? 10 : 2;
  return known + version + (ipv4(entry.gid) ? 4 : link_local(entry.gid) ? 0 : 2);
}

// Soft-RoCE of some kernels offers it and corrupts data.
bool on_demand_works(ibv_context* context, std::string_view device) {
  if (device.starts_with("rxe")) return false;
  const verbs_context* const table = verbs_get_ctx_op(context, query_device_ex);
  ibv_device_attr_ex attr{};
  if (table == nullptr || table->query_device_ex(context, nullptr, &attr, sizeof attr) != 0) return false;
  constexpr std::uint32_t kNeeded = IBV_ODP_SUPPORT_READ | IBV_ODP_SUPPORT_WRITE | IBV_ODP_SUPPORT_ATOMIC;
  return (attr.odp_caps.general_caps & IBV_ODP_SUPPORT) != 0 &&
         (attr.odp_caps.per_transport_caps.rc_odp_caps & kNeeded) == kNeeded;
}

}  // namespace

Device::Device(Device&& other) noexcept
    : library_(other.library_),
      context_(std::exchange(other.context_, nullptr)),
      domain_(std::exchange(other.domain_, nullptr)),
      limits_(other.limits_),
      port_(other.port_),
      port_number_(other.port_number_),
      gid_index_(other.gid_index_),
      gid_(other.gid_),
      on_demand_(other.on_demand_),
      name_(std::move(other.name_)) {}

Device::~Device() {
  if (domain_ != nullptr) library_->dealloc_pd(domain_);
  if (context_ != nullptr) library_->close_device(context_);
}

Result<Device> Device::open(const VerbsParams& params) {
  const auto library = load_library();
  if (!library) return tl::unexpected(library.error());
  int count = 0;
  const std::unique_ptr<ibv_device*, decltype((*library)->free_device_list)> list((*library)->get_device_list(&count),
                                                                                  (*library)->free_device_list);
  std::optional<Place> place;
  if (params.device.empty() && !params.address.empty()) place = place_of(params.address);
  const std::string wanted = place ? place->device : name_for(params.device, params.self);
  Error last{Errc::kNoSupport, 0,
             "there is no RDMA device; `ibv_devices` lists them; soft-RoCE needs no card: see rdma link add"};
  for (int i = 0; list != nullptr && i < count; ++i) {
    ibv_device* const found = list.get()[i];
    if (!wanted.empty() && wanted != (*library)->get_device_name(found)) continue;
    Device device(*library);
    device.name_ = (*library)->get_device_name(found);
    auto opened = device.open_named(found, params, place);
    if (opened) return device;
    log(wanted.empty() ? LogLevel::kInfo : LogLevel::kError, "net", "RDMA device {} is not usable: {}", device.name_,
        describe(opened.error()));
    last = opened.error();
  }
  if (!wanted.empty() && last.sys_errno == 0 && count > 0) {
    log(LogLevel::kError, "net", "no usable RDMA device is named {}; `ibv_devices` lists them", wanted);
  }
  return tl::unexpected(last);
}

Result<void> Device::open_named(ibv_device* device, const VerbsParams& params, const std::optional<Place>& place) {
  if (device->transport_type == IBV_TRANSPORT_IWARP) {
    return fail(Errc::kNoSupport,
                "it is an iWARP device, and iWARP has no atomics, which libdsm needs; use InfiniBand "
                "or RoCE");
  }
  context_ = library_->open_device(device);
  if (context_ == nullptr)
    return fail(Errc::kNoSupport, "it cannot be opened; may this user read /dev/infiniband?", errno);
  if (library_->query_device(context_, &limits_) != 0) return fail(Errc::kSystem, "its limits cannot be read", errno);
  if (limits_.atomic_cap == IBV_ATOMIC_NONE) return fail(Errc::kNoSupport, "it has no atomics, which libdsm needs");
  if (limits_.max_srq == 0) return fail(Errc::kNoSupport, "it has no shared receive queues, which libdsm needs");
  if (auto chosen = choose_port(place && params.port == 0 ? place->port : params.port); !chosen) return chosen;
  if (auto chosen = choose_gid(params.gid_index, place); !chosen) return chosen;
  domain_ = library_->alloc_pd(context_);
  if (domain_ == nullptr) return fail(Errc::kSystem, "it gives no protection domain", errno);
  on_demand_ = on_demand_works(context_, name_);
  return {};
}

Result<void> Device::choose_port(unsigned wanted) {
  for (unsigned number = 1; number <= limits_.phys_port_cnt; ++number) {
    if (wanted != 0 && wanted != number) continue;
    port_number_ = static_cast<std::uint8_t>(number);
    if (query_port(context_, port_number_, port_) && port_.state == IBV_PORT_ACTIVE) return {};
  }
  return fail(Errc::kNoSupport, wanted != 0 ? "the port asked for is not active"
                                            : "none of its ports is active; is the cable in, "
                                              "is the network interface up?");
}

Result<void> Device::choose_gid(int wanted, const std::optional<Place>& place) {
  int best = 0;
  for (int index = 0; index < port_.gid_tbl_len; ++index) {
    if (wanted >= 0 && index != wanted) continue;
    ibv_gid_entry entry{};
    if (library_->query_gid_entry(context_, port_number_, static_cast<std::uint32_t>(index), &entry, 0, sizeof entry) !=
        0) {
      continue;
    }
    const int fit = wanted >= 0 ? 1 : fitness(entry, place);
    if (fit <= best) continue;
    best = fit;
    gid_index_ = static_cast<std::uint8_t>(index);
    gid_ = entry.gid;
  }
  if (best == 0) return fail(Errc::kNoSupport, "its port has no such GID; `ibv_devinfo -v` lists them");
  return {};
}

ibv_mr* Device::register_memory(void* at, std::uint64_t bytes, bool on_demand) const {
  const int access = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_WRITE |
                     IBV_ACCESS_REMOTE_ATOMIC | (on_demand ? IBV_ACCESS_ON_DEMAND : 0);
  ibv_mr* const made = library_->register_memory(domain_, at, bytes, access);
  if (made != nullptr) return made;
  const int error = errno;
  rlimit limit{};
  ::getrlimit(RLIMIT_MEMLOCK, &limit);
  if ((error == ENOMEM || error == EPERM) && limit.rlim_cur != RLIM_INFINITY) {
    log(LogLevel::kError, "net",
        "cannot register {} KiB for RDMA: registered memory is locked, and this process may lock {} KiB; raise the "
        "limit (ulimit -l unlimited, or memlock in /etc/security/limits.conf)",
        bytes >> 10, limit.rlim_cur >> 10);
  } else {
    log(LogLevel::kError, "net", "cannot register {} KiB for RDMA on {}: {}", bytes >> 10, name_,
        strerrordesc_np(error));
  }
  errno = error;
  return nullptr;
}

}  // namespace dsm::net::verbs
