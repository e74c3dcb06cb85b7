// What tests of jobs on several hosts share: each host is a dsmrun of its own on this machine.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/cluster/launcher_run.h"

namespace dsm::cluster::test {

// A file in the tests' own folder that goes with its owner.
class KeyFile {
 public:
  explicit KeyFile(const std::string& content, unsigned mode = 0600);
  ~KeyFile();
  KeyFile(const KeyFile&) = delete;
  KeyFile& operator=(const KeyFile&) = delete;
  const std::string& name() const { return name_; }

 private:
  std::string name_;
};

std::string free_address();  // "127.0.0.1:PORT" with a port that nobody has

// dsmrun on one host of a job: `options` (words), and launcher_node doing `what` (words).
std::vector<std::string> host(unsigned number, unsigned hosts, const std::string& address, const KeyFile& key,
                              const std::string& options, const std::string& what);

// Connected to that address, -1 at the deadline.
int connect_to(const std::string& address);
// Listening there.
int listen_at(const std::string& address);

}  // namespace dsm::cluster::test
