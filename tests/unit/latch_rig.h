// Several nodes in one process, as far as latch-only pages need them: transport, page protocol, calls, service thread.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <memory>
#include <stdexcept>
#include <thread>
#include <vector>

#include "base/meta_layout.h"
#include "net/shm_transport.h"
#include "runtime/blocks.h"
#include "runtime/calls.h"
#include "runtime/node.h"
#include "runtime/pages.h"
#include "runtime/roots.h"
#include "runtime/service.h"

namespace dsm {

// No memory is touched in these tests.
class NoMemory final : public mem::AddressSpace {
 public:
  mem::ChunkState state(PageId) const override { return mem::ChunkState::kShared; }
  Result<void> open_private(PageId, std::uint64_t) override { return fail(Errc::kNoSupport, "no memory here"); }
  bool share(PageId, const std::function<void(PageId)>&) override { return false; }
  void wait_shared(PageId) override {}
};

class LatchRig {
 public:
  explicit LatchRig(unsigned count, const char* emulate = "") : stats_(count) {
    Geometry geometry;
    geometry.slice_bytes = geometry.interleaved_bytes = kChunkBytes;
    geometry.nodes = count;
    net::ShmParams params;
    params.memory_bytes = geometry.memory_bytes();
    params.meta_bytes = meta_region_bytes(geometry);
    params.emulate = emulate;
    for (unsigned i = 0; i < count; ++i) {
      params.nodes.push_back({file(params.memory_bytes), file(net::shm_meta_file_bytes(params.meta_bytes, count))});
    }
    for (unsigned i = 0; i < count; ++i) {
      params.self = static_cast<NodeId>(i);
      nodes_.push_back(make_node(geometry, params, stats_[i]));
    }
    for (const auto& fds : params.nodes) {
      ::close(fds.memory_fd);
      ::close(fds.meta_fd);
    }
  }

  // The handlers of calls stand before any node runs.
  void start() {
    for (auto& node : nodes_) node->service->start();
  }

  ~LatchRig() {
    for (auto& node : nodes_) node->service->stop();
  }

  runtime::Node& operator[](unsigned node) { return *nodes_[node]; }
  unsigned count() const { return static_cast<unsigned>(nodes_.size()); }
  PageId lock_of(unsigned home, PageId number = 0) const {
    return nodes_[0]->geometry.latches_first(static_cast<NodeId>(home)) + number;
  }

  // Runs act(node number, thread number) on `threads` threads of each node and waits for all.
  template <typename Act>
  void on_all(unsigned threads, Act act) {
    std::vector<std::thread> all;
    for (unsigned node = 0; node < count(); ++node) {
      for (unsigned thread = 0; thread < threads; ++thread) all.emplace_back([=] { act(node, thread); });
    }
    for (auto& thread : all) thread.join();
  }

 private:
  static int file(std::uint64_t bytes) {
    const int fd = ::memfd_create("latch-test", MFD_CLOEXEC);
    if (fd < 0 || ::ftruncate(fd, static_cast<off_t>(bytes)) != 0) throw std::runtime_error("memfd");
    return fd;
  }

  static std::unique_ptr<runtime::Node> make_node(const Geometry& geometry, const net::ShmParams& params,
                                                  NodeStats& stats) {
    auto node = std::make_unique<runtime::Node>();
    node->config = read_config().value();
    node->geometry = geometry;
    node->self = params.self;
    node->stats = &stats;
    node->transport = net::make_shm_transport(params).value();
    node->space = std::make_unique<NoMemory>();
    node->pages = runtime::Pages::create(*node).value();
    node->calls = std::make_unique<runtime::Calls>(*node);
    node->service = std::make_unique<runtime::Service>(*node);
    return node;
  }

  std::vector<NodeStats> stats_;
  std::vector<std::unique_ptr<runtime::Node>> nodes_;
};

}  // namespace dsm
