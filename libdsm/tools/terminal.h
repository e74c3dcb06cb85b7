// A terminal on which single keys are read and whole screens are shown, given back as it was.
#pragma once

#include <termios.h>

#include <string>

#include "tools/top_view.h"

namespace dsm::tools {

class Terminal {
 public:
  // Whether both stdin and stdout are one.
  static bool there();

  // SIGINT and SIGTERM end it as `q` does, from here on.
  Terminal();
  ~Terminal();
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  Screen screen() const;
  void show(const std::string& text);
  // Keys that were pressed; "q" if somebody ended the program. Waits for `wait_ms` at the most, less if `other` has
  // something to say.
  std::string keys(int wait_ms, int other);

 private:
  termios before_{};
};

}  // namespace dsm::tools
