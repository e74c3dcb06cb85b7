// Messages of the bootstrap, at all who read them: dsmrun's rendezvous and control sockets and its socket for dsmstat,
// and a node that waits to be welcomed. Real sockets; descriptors of any kind come along.
#include "cluster/control.h"

#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <thread>

#include "base/log.h"
#include "base/stats.h"
#include "cluster/job.h"
#include "cluster/registrar.h"
#include "cluster/stats_client.h"
#include "cluster/stats_server.h"
#include "tests/fuzz/input.h"

namespace {

using namespace dsm;
using namespace dsm::cluster;

Config config() {
  ::setenv("DSM_SLICE", "2M", 0);
  ::setenv("DSM_INTERLEAVED", "2M", 0);
  auto read = read_config();
  if (!read) std::abort();
  set_log(static_cast<LogLevel>(-1), -1);
  return *read;
}

// A message of `size` bytes, sent with up to three descriptors. If the input says so, its head is made right, for the
// kind that it names, so that what lies behind the head is looked at.
void send(int socket, fuzz::Input& input) {
  const auto flags = input.number<std::uint8_t>();
  constexpr std::size_t kSizes[] = {sizeof(Hello),        sizeof(Welcome),     sizeof(Refused),
                                    sizeof(Finish),       sizeof(AllFinished), sizeof(PeerDownNotice),
                                    sizeof(StatsRequest), sizeof(StatsReply)};
  std::byte message[2100] = {};
  const auto kind = input.number<std::uint8_t>() % std::size(kSizes);
  std::size_t size = (flags & 1) != 0 ? kSizes[kind] : input.number<std::uint16_t>() % sizeof message;
  const auto taken = input.bytes(size);
  std::memcpy(message, taken.data(), taken.size());
  if ((flags & 1) != 0) {
    const MessageHead head{kControlMagic, kControlVersion, static_cast<MessageKind>(kind + 1),
                           static_cast<std::uint32_t>(size), 0};
    std::memcpy(message, &head, sizeof head);
  }
  const int fds[] = {STDIN_FILENO, socket, STDERR_FILENO};
  (void)send_bytes(socket, {message, std::max<std::size_t>(size, 1)}, std::span(fds).first(flags >> 1 & 3),
                   MSG_DONTWAIT);
}

// dsmrun hears from a process that wants to be node 0, or is.
void registrar(fuzz::Input& input) {
  static const Config options = config();
  static const Geometry geometry = geometry_of(options, 1);
  static const auto memory = std::move(*make_job_memory(geometry, node_bit(0)));
  Registrar registrar(geometry, node_bit(0), same_options(options), memory);
  std::vector<NodeProcess> nodes(1);
  auto rendezvous = std::move(*make_socket_pair());
  auto control = std::move(*make_socket_pair());
  nodes[0].rendezvous = std::move(rendezvous.near);
  if (input.number<std::uint8_t>() % 2 != 0) {
    nodes[0].joined_pid = 1;
    nodes[0].control = std::move(control.near);
  }
  for (int i = 0; i < 4 && !input.empty(); ++i) {
    send(rendezvous.far.get(), input);
    if (nodes[0].rendezvous) registrar.on_rendezvous(nodes[0]);
    send(control.far.get(), input);
    registrar.on_control(nodes[0]);
  }
  registrar.send_due_welcomes(nodes);
  registrar.tell_if_all_finished(nodes);
}

// A node asks to join and gets the input as its answer.
void joining(fuzz::Input& input) {
  static const Config options = config();
  auto rendezvous = std::move(*make_socket_pair());
  struct stat status {};
  ::fstat(rendezvous.far.get(), &status);
  const std::string variable = std::to_string(rendezvous.far.get()) + ":" + std::to_string(status.st_ino);
  ::setenv("DSM_CONTROL_FD", variable.c_str(), 1);
  std::thread launcher([&] {
    Packet packet;
    if (receive(rendezvous.near.get(), packet, 0) == Received::kPacket && packet.fds.size() == 1) {
      send(packet.fds.front().get(), input);
    }
  });
  const auto job = join_job(options);
  if (job) std::abort();  // no input brings memory of the right size
  launcher.join();
  ::unsetenv("DSM_CONTROL_FD");
}

// Somebody talks to the socket for dsmstat; and dsmstat talks to somebody.
void stats(fuzz::Input& input) {
  static const int counters = ::memfd_create("dsm-fuzz", MFD_CLOEXEC);
  static auto server = std::move(*StatsServer::open(counters, 1, "fuzz"));
  const JobAddress address = job_address(::geteuid(), ::getpid());
  const UniqueFd client(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (::connect(client.get(), address.get(), address.size()) != 0) std::abort();
  server.serve();
  for (int i = 0; i < 3 && !input.empty(); ++i) {
    send(client.get(), input);
    server.serve();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input(data, size);
  switch (input.number<std::uint8_t>() % 3) {
    case 0:
      registrar(input);
      break;
    case 1:
      joining(input);
      break;
    case 2:
      stats(input);
      break;
  }
  return 0;
}
