// dsmstat's side: which jobs run on this host, and the counters of one of them. What a server sends is checked before
// use: anybody may have bound a socket of that name.
#pragma once

#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "cluster/unique_fd.h"

namespace dsm::cluster {

// Where the job of that dsmrun can be asked: "@dsm-job-<uid>-<pid>".
class JobAddress {
 public:
  explicit JobAddress(const std::string& name);
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&address_); }
  socklen_t size() const { return size_; }

 private:
  sockaddr_un address_{};
  socklen_t size_;
};
JobAddress job_address(uid_t user, pid_t launcher);

struct JobName {
  uid_t user;
  pid_t launcher;
};
// Every job that listens in this network namespace, by pid.
Result<std::vector<JobName>> list_jobs();

struct JobView {
  UniqueFd connection;  // its end of file is the job's end
  UniqueFd counters;    // read with pread: a NodeStats per node
  unsigned nodes;
  pid_t launcher;
  std::int64_t started_ns;
  std::string program;
};
// Errc::kNotFound: no such job. kNoSupport: refused, or of another user. kProtocol: not of this version.
Result<JobView> open_job(const JobName& name);
bool job_has_ended(const JobView& job);

}  // namespace dsm::cluster
