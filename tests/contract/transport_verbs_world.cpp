// The world of verbs transports: processes of one machine that introduce themselves over shared memory. The devices are
// those of DSM_RDMA_DEVICE, in turn ("rxea,rxeb"), or the first that works.
#include "tests/contract/transport_verbs_world.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <system_error>

namespace dsm::net::test {
namespace {

int make_file(std::uint64_t bytes) {
  const int fd = memfd_create("dsm-test", MFD_CLOEXEC);
  if (fd < 0 || ftruncate(fd, static_cast<off_t>(bytes)) != 0) {
    throw std::system_error(errno, std::generic_category(), "memfd");
  }
  return fd;
}

}  // namespace

VerbsWorld::VerbsWorld(unsigned nodes, std::uint64_t memory_bytes, std::uint64_t meta_bytes) {
  const char* const device = std::getenv("DSM_RDMA_DEVICE");
  params_.device = device != nullptr ? device : "";
  params_.nodes = nodes;
  params_.memory_bytes = memory_bytes;
  params_.meta_bytes = meta_bytes;
  for (unsigned i = 0; i < nodes; ++i) {
    memory_.push_back(make_file(memory_bytes));
    meta_.push_back(make_file(meta_bytes));
  }
}

VerbsWorld::~VerbsWorld() {
  for (const int fd : memory_) close(fd);
  for (const int fd : meta_) close(fd);
}

std::unique_ptr<Transport> VerbsWorld::join(NodeId self) {
  VerbsParams params = params_;
  params.self = self;
  params.memory_fd = memory_[self];
  params.meta_fd = meta_[self];
  params.exchange = [this, self](std::span<const std::byte> mine) { return exchange(self, mine); };
  auto transport = make_verbs_transport(params);
  if (!transport) throw std::runtime_error(describe(transport.error()));
  return std::move(*transport);
}

Result<std::vector<std::vector<std::byte>>> VerbsWorld::exchange(NodeId self, std::span<const std::byte> mine) {
  Desk& desk = *desk_;
  std::memcpy(desk.text[self], mine.data(), mine.size());
  desk.bytes[self] = mine.size();
  desk.meeting.meet(params_.nodes);
  std::vector<std::vector<std::byte>> all;
  for (unsigned node = 0; node < params_.nodes; ++node) {
    all.emplace_back(desk.text[node], desk.text[node] + desk.bytes[node]);
  }
  desk.meeting.meet(params_.nodes);
  return all;
}

const std::vector<WorldKind>& world_kinds() {
  static const std::vector<WorldKind> kinds = {
      {"verbs", [](unsigned nodes) { return std::make_unique<VerbsWorld>(nodes, kMemoryBytes, kMetaBytes); },
       25},  // soft-RoCE in an emulated machine
  };
  return kinds;
}

void PrintTo(const WorldKind& kind, std::ostream* out) { *out << kind.name; }

}  // namespace dsm::net::test
