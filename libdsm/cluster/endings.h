// How nodes end, in words and as dsmrun's exit code.
#pragma once

#include <string>

namespace dsm::cluster {

// dsmrun's exit codes beside the program's own and 128 + signal (sysexits.h where that has one).
inline constexpr int kExitUsage = 64;
inline constexpr int kExitUnavailable = 69;
inline constexpr int kExitInternal = 70;
inline constexpr int kExitLeft = 76;
inline constexpr int kExitCannotExecute = 126;
inline constexpr int kExitNotFound = 127;

enum class EndKind {
  kExited,     // value: status
  kSignalled,  // value: signal
  kLeft,       // exited with status 0 without finish() while others were running
  kLost,       // closed its control socket and lives on
  kStuck,      // not even SIGKILL ends it
};

struct NodeEnd {
  EndKind kind;
  int value = 0;
  bool by_launcher = false;  // dsmrun ended it, because of another node or the user

  bool good() const { return kind == EndKind::kExited && value == 0; }
};

NodeEnd end_of(int wait_status);
std::string signal_name(int signal);  // "SIGKILL"
// "killed by signal 9 (SIGKILL)", "exited with status 3": what peers are told.
std::string how_text(const NodeEnd& end);
// "node 2 (pid 123) was killed by signal 9 (SIGKILL)".
std::string sentence(unsigned node, int pid, const NodeEnd& end);
// For the end that broke the job up.
int exit_code(const NodeEnd& end);

}  // namespace dsm::cluster
