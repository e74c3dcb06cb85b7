// Lets dsmstat look at a running job: an abstract socket "@dsm-job-<uid>-<pid of dsmrun>" that hands out a read-only
// descriptor of the counters. Whoever connects may be anybody: credentials first, one well-formed request, bounded
// numbers, no waiting; whatever happens here, the job goes on.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "base/result.h"
#include "cluster/control.h"
#include "cluster/unique_fd.h"

namespace dsm::cluster {

class StatsServer {
 public:
  static Result<StatsServer> open(int stats_fd, unsigned nodes, const std::string& program);

  int fd() const { return events_.get(); }  // readable when serve() has something to do
  void serve();

 private:
  struct Client {
    UniqueFd socket;
    int pid;
    bool answered;
  };

  StatsServer() = default;
  void accept_all();
  void serve_client(Client& client);
  void refuse(int pid, int uid, const char* why);
  void drop_silent();
  void drop(int socket) { clients_.erase(socket); }

  UniqueFd events_;
  UniqueFd listener_;
  UniqueFd counters_;  // read-only
  StatsReply reply_{};
  std::map<int, Client> clients_;  // by descriptor
  int lines_left_ = 10;            // a flood of strangers must not become a flood of log lines
};

}  // namespace dsm::cluster
