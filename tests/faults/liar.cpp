// A node whose messages are none: node 1 overwrites what node 0 is about to read. Node 0 must name it and end.
#include <dsm/dsm.h>
#include <sys/mman.h>

#include <atomic>
#include <cstdio>
#include <ctime>

#include "base/meta_layout.h"
#include "net/shm_wire.h"
#include "runtime/node.h"

namespace {

// As node 1: every slot of its ring at node 0 holds a message of another version, again and again, while it asks node 0
// for work so that node 0 looks.
[[noreturn]] void lie(const std::atomic<int>& word) {
  const dsm::runtime::Node& node = dsm::runtime::node();
  const std::uint64_t meta = dsm::meta_region_bytes(node.geometry);
  const std::uint64_t bytes = dsm::net::shm::mailbox_offset(meta) + dsm::net::shm::mailbox_bytes(dsm::nodes());
  void* const mapped = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, node.job->fds()[0].meta_fd, 0);
  if (mapped == MAP_FAILED) std::_Exit(1);
  auto* const mailbox =
      reinterpret_cast<dsm::net::shm::Mailbox*>(static_cast<std::byte*>(mapped) + dsm::net::shm::mailbox_offset(meta));
  for (auto& slot : mailbox->ring(1).slots) slot.word = dsm::net::shm::pack({0x11, 0x22, 1, 8, 0x33333333});
  for (;;) (void)word.load();
}

}  // namespace

int main() {
  if (dsm::start()) return 69;
  if (dsm::node() == 0) {
    void* const page = dsm::alloc(4096, 4096);
    (void)dsm::publish("word", ::new (page) std::atomic<int>(0));
  }
  auto& word = *static_cast<std::atomic<int>*>(dsm::lookup("word"));
  std::printf("ready\n");
  std::fflush(stdout);
  if (dsm::node() == 1) lie(word);
  for (;;) word.fetch_add(1);
}
