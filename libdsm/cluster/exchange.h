// The exchange: while a job starts, each node gives a few bytes, and every node gets those of all, in node order.
// dsmrun gathers them and hands every node one sealed file with a slot for each; this is both sides' view of it.
//
// 1. A round ends when every node has given; the next one begins then. Nobody can be a round ahead.
// 2. What a node sends is checked before it is taken; a slot's length is checked again by those who read it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/types.h"
#include "cluster/control.h"
#include "cluster/unique_fd.h"

namespace dsm::cluster {

using Shares = std::vector<std::vector<std::byte>>;                           // one a node
using NodeShares = std::vector<std::pair<unsigned, std::vector<std::byte>>>;  // of some nodes

// The launcher's side.
class Exchange {
 public:
  explicit Exchange(unsigned nodes) : shares_(nodes) {}

  // "" if it was taken, else what is wrong with it.
  std::string give(unsigned node, const Contribution& contribution);
  // What the other hosts' launchers have given for all nodes; this host's have given already.
  void give_all(Shares shares);
  const std::vector<std::byte>& share(unsigned node) const { return *shares_[node]; }  // REQUIRES: has(node)
  bool has(unsigned node) const { return shares_[node].has_value(); }
  bool open() const { return opened_ns_ != 0; }  // somebody has given, and not everybody
  std::int64_t opened_ns() const { return opened_ns_; }
  bool complete() const;
  std::uint32_t round() const { return round_; }
  // What everybody has given. REQUIRES: complete(). Begins the next round.
  Result<UniqueFd> finish();

 private:
  std::vector<std::optional<std::vector<std::byte>>> shares_;
  std::uint32_t round_ = 0;
  std::int64_t opened_ns_ = 0;
};

// The node's side: kProtocol if the file is not what finish() makes of that many nodes.
Result<Shares> read_shares(int fd, unsigned nodes);

}  // namespace dsm::cluster
