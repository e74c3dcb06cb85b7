// Host 0's view of the others: it gathers what they give and say, adds what its own supervisor says, and tells all.
#pragma once

#include <optional>
#include <vector>

#include "cluster/other_hosts.h"
#include "hosts/frames.h"
#include "hosts/lookout.h"
#include "hosts/meeting.h"

namespace dsm::hosts {

class Leader final : public cluster::OtherHosts {
 public:
  Leader(Met met, Lookout lookout);

  int fd() const override { return lookout_.fd(); }
  std::vector<cluster::HostNews> serve() override;
  void give(const NodeShares& shares) override;
  void finished() override;
  void broken(const cluster::Breakage& breakage) override;
  void ended(int exit_code) override;

 private:
  struct Host {
    bool given = false;  // in this round
    bool finished = false;
    bool ended = false;
    bool gone = false;  // its channel is closed
  };

  void serve(unsigned host);
  bool take(unsigned host, const Channel::Frame& frame);
  void lose(unsigned host, const std::string& why);
  void take_shares(unsigned host, NodeShares shares);
  void take_finished(unsigned host);
  void take_broken(unsigned host, const cluster::Breakage& breakage);
  void take_ended(unsigned host, int exit_code);
  template <typename... Payload>
  void tell_all(FrameKind kind, const Payload&... payload);
  Channel& channel(unsigned host) { return channels_[host - 1]; }

  const Places places_;
  std::vector<Channel> channels_;
  Lookout lookout_;
  std::vector<Host> hosts_;
  cluster::Shares shares_;  // of this round
  bool broken_ = false;
  int exit_code_ = 0;
  bool over_ = false;
  std::vector<cluster::HostNews> news_;
};

}  // namespace dsm::hosts
