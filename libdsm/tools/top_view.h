// What dsmstat shows on a terminal, and what keys change of it: pure code.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tools/stats_view.h"

namespace dsm::tools {

struct TopView {
  enum class Rows : std::uint8_t { kNodes, kCounters };
  enum class Sort : std::uint8_t { kNone, kFaults, kWaits, kBytes, kLocks, kBorrows };

  Rows rows = Rows::kNodes;
  Sort sort = Sort::kNone;  // nodes by number and counters in their order, or what is greatest first
  bool stands = false;      // the reading that is shown stays

  // False: it is over.
  bool press(char key);
};

struct Screen {
  unsigned rows = 24;
  unsigned columns = 80;
};

// As much of it as the screen has room for; no line is longer. `head` comes first, the keys last.
std::string top_text(const TopView& view, const std::string& head, const std::vector<NodeView>& now,
                     const std::optional<Earlier>& earlier, const Screen& screen);

}  // namespace dsm::tools
