#include "net/verbs_address.h"

#include <dlfcn.h>
#include <netdb.h>
#include <rdma/rdma_cma.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "base/log.h"

namespace dsm::net::verbs {
namespace {

struct Library {
  decltype(&::rdma_create_id) create_id;
  decltype(&::rdma_destroy_id) destroy_id;
  decltype(&::rdma_bind_addr) bind_address;

  bool load() {
    void* const handle = ::dlopen("librdmacm.so.1", RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) return false;
    create_id = reinterpret_cast<decltype(create_id)>(::dlsym(handle, "rdma_create_id"));
    destroy_id = reinterpret_cast<decltype(destroy_id)>(::dlsym(handle, "rdma_destroy_id"));
    bind_address = reinterpret_cast<decltype(bind_address)>(::dlsym(handle, "rdma_bind_addr"));
    return create_id != nullptr && destroy_id != nullptr && bind_address != nullptr;
  }
};

struct FreeAddress {
  void operator()(addrinfo* list) const { ::freeaddrinfo(list); }
};

std::unique_ptr<addrinfo, FreeAddress> parse(const std::string& address) {
  addrinfo hints{};
  hints.ai_flags = AI_NUMERICHOST;
  addrinfo* list = nullptr;
  if (::getaddrinfo(address.c_str(), nullptr, &hints, &list) != 0) return nullptr;
  return std::unique_ptr<addrinfo, FreeAddress>(list);
}

}  // namespace

std::optional<Place> place_of(const std::string& address) {
  Library library{};
  if (!library.load()) {
    log(LogLevel::kInfo, "net", "librdmacm (package librdmacm1) is not here to say which RDMA device has {}", address);
    return std::nullopt;
  }
  const auto parsed = parse(address);
  rdma_cm_id* id = nullptr;
  if (parsed == nullptr || library.create_id(nullptr, &id, nullptr, RDMA_PS_TCP) != 0) {
    log(LogLevel::kInfo, "net", "librdmacm cannot be asked which RDMA device has {}: {}", address, ::strerror(errno));
    return std::nullopt;
  }
  std::optional<Place> place;
  if (library.bind_address(id, parsed->ai_addr) == 0 && id->verbs != nullptr) {
    place = {id->verbs->device->name, id->port_num, id->route.addr.addr.ibaddr.sgid};
  } else {
    log(LogLevel::kInfo, "net", "no RDMA device has {}: {}", address, ::strerror(errno));
  }
  library.destroy_id(id);
  return place;
}

}  // namespace dsm::net::verbs
