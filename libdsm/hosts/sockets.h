// TCP sockets of a meeting, and addresses as text. Errors are sentences for the user.
#pragma once

#include <netdb.h>

#include <memory>
#include <string>

#include "base/result.h"
#include "cluster/unique_fd.h"

namespace dsm::hosts {

struct FreeAddress {
  void operator()(addrinfo* list) const { ::freeaddrinfo(list); }
};
using Addresses = std::unique_ptr<addrinfo, FreeAddress>;

// "10.5.0.1:7070", "[fd00::1]:7070", "name:7070".
tl::expected<Addresses, std::string> resolve(const std::string& rendezvous);

tl::expected<cluster::UniqueFd, std::string> listen_at(const addrinfo& address, const std::string& text);

// One attempt that takes `wait_ms` at the most. 0 and a socket, or an errno.
int connect_to(const addrinfo& address, int wait_ms, cluster::UniqueFd& socket);

// Of the other side, and of this one: "10.5.0.2".
std::string peer_of(int socket);
std::string own_address_of(int socket);

}  // namespace dsm::hosts
