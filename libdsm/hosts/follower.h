// The view of a host other than 0: it tells host 0 and hears of all from it.
#pragma once

#include <vector>

#include "cluster/other_hosts.h"
#include "hosts/frames.h"
#include "hosts/lookout.h"
#include "hosts/meeting.h"

namespace dsm::hosts {

class Follower final : public cluster::OtherHosts {
 public:
  Follower(Met met, Lookout lookout);

  int fd() const override { return lookout_.fd(); }
  std::vector<cluster::HostNews> serve() override;
  void give(const NodeShares& shares) override;
  void finished() override;
  void broken(const cluster::Breakage& breakage) override;
  void ended(int exit_code) override;

 private:
  bool take(const Channel::Frame& frame);
  void lose(const char* why);
  void care();

  const Places places_;
  Channel channel_;
  Lookout lookout_;
  bool ended_ = false;
  int exit_code_ = 0;
  bool over_ = false;
  std::vector<cluster::HostNews> news_;
};

}  // namespace dsm::hosts
