// Runs programs for the launcher's tests: starts them, feeds them, reads them, and knows when they are gone.
// A wait that takes longer than kDeadline fails the test; nothing else is timed.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "base/tsan.h"

namespace dsm::cluster::test {

inline constexpr std::chrono::seconds kDeadline{kThreadSanitizer ? 300 : 120};

std::string bin(const std::string& program);  // in the build's bin folder

struct Start {
  std::vector<std::string> environment;  // "NAME=value", added
  std::function<void()> in_child;        // before exec
  int stdin_fd = -1;                     // instead of a pipe
};

// Jobs in which a check of hints or of placed work has to be right: one node, several, and one that has its memory
// elsewhere.
inline const std::vector<std::vector<std::string>> kObjectJobs{
    {"-n", "1"}, {"-n", "2"}, {"-n", "4"}, {"-n", "1", "--memory-nodes", "1", "--local-memory", "4M"}};
// Memory that several nodes have elsewhere: for hints and atomic words, not for work that goes from node to node.
inline const std::vector<std::string> kLentJob{"-n", "3", "--memory-nodes", "2", "--local-memory", "4M"};

// The command that runs a program of this build's so.
inline std::vector<std::string> object_job(const std::vector<std::string>& options, const char* engine,
                                           const char* program, const char* check) {
  std::vector<std::string> words{bin("dsmrun")};
  words.insert(words.end(), options.begin(), options.end());
  words.insert(words.end(), {"--engine", engine, "--", bin(program), check});
  return words;
}

class Process {
 public:
  explicit Process(std::vector<std::string> command, Start start = {});
  ~Process();  // kills it if it still runs
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const { return pid_; }
  const std::string& out() const { return text_[0]; }
  const std::string& err() const { return text_[1]; }

  void type(const std::string& text);
  void close_input();
  // Reads until `text` has come `times` times on stdout and stderr together; fails the test at the deadline.
  void wait_for(const std::string& text, int times = 1);
  // Reads to the end and gives the exit status as a shell would (128 + signal); -1 and a failed test at the deadline.
  int wait();

 private:
  bool read_some();  // false at the end of both streams or at the deadline

  pid_t pid_ = -1;
  int in_ = -1;
  int from_[2] = {-1, -1};
  std::string text_[2];
};

// dsmrun with small regions, `options` (words), and launcher_node doing `what` (words).
std::vector<std::string> job(const std::string& options, const std::string& what);
std::vector<std::string> words(const std::string& text);

int count(const std::string& text, const std::string& part);
// The numbers that follow `label` in `text`, in order.
std::vector<pid_t> numbers_after(const std::string& text, const std::string& label);

char state_of(pid_t pid);  // as in /proc/PID/stat: R, S, T, Z, ...; '-' if there is no such process
bool is_gone(pid_t pid);   // no such process, or a zombie
// Waits until none of them is left; false at the deadline.
bool all_gone(const std::vector<pid_t>& pids);
bool eventually(const std::function<bool()>& condition);
// Whether any process still holds or maps shared memory of the job of that dsmrun.
bool job_memory_left(pid_t launcher);
// Names under /dev/shm and /tmp that look like ours.
std::vector<std::string> left_in_file_system();

}  // namespace dsm::cluster::test
