#include <sys/mman.h>
#include <unistd.h>

#include <system_error>

#include "net/shm_transport.h"
#include "tests/contract/transport_world.h"

namespace dsm::net::test {
namespace {

class ShmWorld : public World {
 public:
  ShmWorld(unsigned nodes, const std::string& emulate) {
    params_.memory_bytes = kMemoryBytes;
    params_.meta_bytes = kMetaBytes;
    params_.emulate = emulate;
    for (unsigned i = 0; i < nodes; ++i) {
      params_.nodes.push_back({make_file(kMemoryBytes), make_file(shm_meta_file_bytes(kMetaBytes, nodes))});
    }
  }
  ~ShmWorld() override {
    for (const ShmNode& node : params_.nodes) {
      close(node.memory_fd);
      close(node.meta_fd);
    }
  }

  std::unique_ptr<Transport> join(NodeId self) override {
    params_.self = self;
    auto transport = make_shm_transport(params_);
    if (!transport) throw std::runtime_error(describe(transport.error()));
    return std::move(*transport);
  }

 private:
  static int make_file(std::uint64_t bytes) {
    const int fd = memfd_create("dsm-test", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, static_cast<off_t>(bytes)) != 0) {
      throw std::system_error(errno, std::generic_category(), "memfd");
    }
    return fd;
  }

  ShmParams params_;
};

}  // namespace

std::unique_ptr<World> make_shm_world(unsigned nodes, const std::string& emulate) {
  return std::make_unique<ShmWorld>(nodes, emulate);
}

void PrintTo(const WorldKind& kind, std::ostream* out) { *out << kind.name; }

}  // namespace dsm::net::test
