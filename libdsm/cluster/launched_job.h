// A node's share of a job, and that of a node which dsmrun has started. Before watch() the thread that starts the node
// reads the control socket, from then on the watching thread alone.
#pragma once

#include <array>
#include <atomic>
#include <functional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "cluster/control.h"
#include "cluster/job.h"
#include "cluster/regions.h"
#include "cluster/unique_fd.h"

namespace dsm::cluster {

class Membership : public Job {
 public:
  Membership(NodeId self, const Geometry& geometry, JobMemory memory);

  NodeId self() const override { return self_; }
  const Geometry& geometry() const override { return geometry_; }
  const std::vector<NodeFds>& fds() const override { return fds_; }
  int stats_fd() const override { return memory_.stats.get(); }
  std::uint64_t meta_bytes() const override;

 private:
  const NodeId self_;
  const Geometry geometry_;
  const JobMemory memory_;
  std::vector<NodeFds> fds_;
};

class LaunchedJob final : public Membership {
 public:
  LaunchedJob(NodeId self, const Geometry& geometry, JobMemory memory, UniqueFd control, UniqueFd stop, int launcher)
      : Membership(self, geometry, std::move(memory)),
        control_(std::move(control)),
        stop_(std::move(stop)),
        launcher_(launcher) {}
  ~LaunchedJob() override;

  Result<std::vector<std::vector<std::byte>>> exchange(std::span<const std::byte> mine) override;
  void watch(std::function<void(const PeerDown&)> on_peer_down) override;
  bool finish(std::int64_t timeout_ms) override;

 private:
  enum State : std::uint32_t { kRunning, kAllFinished, kBroken };

  void enter(State state);
  bool stopped(int timeout_ms, bool also_message) const;
  void listen();
  void handle(const Packet& packet);
  void launcher_died();

  const UniqueFd control_;
  const UniqueFd stop_;
  const int launcher_;
  std::uint32_t exchanges_ = 0;  // rounds that are over
  std::function<void(const PeerDown&)> on_peer_down_;
  std::array<std::string, kMaxNodes> how_;  // what PeerDown::how points to stays as long as the job
  std::atomic<std::uint32_t> state_{kRunning};
  std::thread thread_;
};

// Logs the sentence for the user; the error goes to the caller.
tl::unexpected<Error> refuse(Errc code, const char* context, std::string_view sentence);

// dsmrun's answer on the control socket. A Refused is an error, and so is silence for a minute.
Result<Packet> wait_for_answer(int control);

}  // namespace dsm::cluster
