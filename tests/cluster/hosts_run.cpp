#include "tests/cluster/hosts_run.h"

#include <arpa/inet.h>
#include <fmt/core.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

namespace dsm::cluster::test {

namespace {

sockaddr_in parse(const std::string& address) {
  sockaddr_in made{};
  made.sin_family = AF_INET;
  made.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  made.sin_port = htons(static_cast<std::uint16_t>(std::atoi(address.c_str() + address.rfind(':') + 1)));
  return made;
}

}  // namespace

KeyFile::KeyFile(const std::string& content, unsigned mode) {
  static int made = 0;
  name_ = fmt::format("{}hosts-test-{}-{}.key", ::testing::TempDir(), ::getpid(), ++made);
  std::ofstream(name_) << content;
  ::chmod(name_.c_str(), mode);
}

KeyFile::~KeyFile() { ::unlink(name_.c_str()); }

std::string free_address() {
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = parse(":0");
  socklen_t size = sizeof address;
  (void)::bind(socket, reinterpret_cast<sockaddr*>(&address), size);
  ::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size);
  ::close(socket);
  return fmt::format("127.0.0.1:{}", ntohs(address.sin_port));
}

std::vector<std::string> host(unsigned number, unsigned hosts, const std::string& address, const KeyFile& key,
                              const std::string& options, const std::string& what) {
  return job(fmt::format("--transport verbs --hosts {} --host {} --rendezvous {} --key-file {} {}", hosts, number,
                         address, key.name(), options),
             what);
}

int connect_to(const std::string& address) {
  int socket = -1;
  const sockaddr_in where = parse(address);
  eventually([&] {
    socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (::connect(socket, reinterpret_cast<const sockaddr*>(&where), sizeof where) == 0) return true;
    ::close(socket);
    socket = -1;
    return false;
  });
  return socket;
}

int listen_at(const std::string& address) {
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_in where = parse(address);
  EXPECT_EQ(::bind(socket, reinterpret_cast<const sockaddr*>(&where), sizeof where), 0);
  EXPECT_EQ(::listen(socket, 1), 0);
  return socket;
}

}  // namespace dsm::cluster::test
