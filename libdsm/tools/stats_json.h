// The counters for programs. One vocabulary for dsmrun --stats-json and dsmstat --json.
#pragma once

#include <nlohmann/json.hpp>
#include <vector>

#include "tools/stats_view.h"

namespace dsm::tools {

// {"units": {name: unit}, "nodes": [{"node", "pid", "engine", "counters", "latencies"}], "total": {...}}
nlohmann::ordered_json stats_json(const std::vector<NodeView>& nodes);
// {name: events a second}
nlohmann::ordered_json rates_json(const std::vector<double>& rates);

}  // namespace dsm::tools
