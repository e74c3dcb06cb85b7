// What lies in a node's mailbox in shared memory, where any peer may write: whatever it is, the receiver goes on with
// the other nodes and hands up whole messages only.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>

#include "net/shm_transport.h"
#include "net/shm_wire.h"
#include "tests/fuzz/input.h"

namespace {

using namespace dsm;

constexpr std::uint64_t kBytes = 4096;

// Two nodes of one process.
class World {
 public:
  World() {
    net::ShmParams params;
    params.memory_bytes = params.meta_bytes = kBytes;
    for (int node = 0; node < 2; ++node) {
      params.nodes.push_back({make_file(kBytes), make_file(net::shm_meta_file_bytes(kBytes, 2))});
    }
    for (NodeId node = 0; node < 2; ++node) {
      params.self = node;
      nodes_[node] = std::move(*net::make_shm_transport(params));
    }
    for (const net::ShmNode& node : params.nodes) ::close(node.memory_fd), ::close(node.meta_fd);
  }

  void step(fuzz::Input& input) {
    switch (input.number<std::uint8_t>() % 4) {
      case 0: {  // a message as it should be
        const auto bytes = input.bytes(input.number<std::uint8_t>() % (net::kMaxMessageBytes + 1));
        (void)nodes_[0]->send(1, std::as_bytes(bytes), net::Waiter::kService);
        break;
      }
      case 1: {  // a slot
        net::shm::Slot& slot = ring().slots[input.number<std::uint8_t>()];
        slot.word = input.number<std::uint64_t>();
        slot.due_ns = input.number<std::int64_t>() & 1;
        break;
      }
      case 2: {  // one field of a slot that is right otherwise
        net::shm::Slot& slot = ring().slots[input.number<std::uint8_t>()];
        slot.word = slot.word ^ std::uint64_t{1} << input.number<std::uint8_t>() % 64;
        break;
      }
      case 3:  // the counters
        ring().consumed = input.number<std::uint64_t>();
        ring().stalled = input.number<std::uint32_t>();
        break;
    }
    const net::MessageSink sink = [](NodeId from, std::span<const std::byte> bytes) {
      if (from > 1 || bytes.size() > net::kMaxMessageBytes) std::abort();
    };
    for (auto& node : nodes_) node->poll(sink, 64);
  }

 private:
  static int make_file(std::uint64_t bytes) {
    const int fd = ::memfd_create("dsm-fuzz", MFD_CLOEXEC);
    if (fd < 0 || ::ftruncate(fd, static_cast<off_t>(bytes)) != 0) std::abort();
    return fd;
  }
  net::shm::Ring& ring() {
    std::byte* const meta = nodes_[1]->local_region(net::Region::kMeta);
    return reinterpret_cast<net::shm::Mailbox*>(meta + net::shm::mailbox_offset(kBytes))->ring(0);
  }

  std::unique_ptr<net::Transport> nodes_[2];
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  World world;
  fuzz::Input input(data, size);
  while (!input.empty()) world.step(input);
  return 0;
}
