// The counters in Prometheus' text format.
#pragma once

#include <string>
#include <vector>

#include "tools/stats_view.h"

namespace dsm::tools {

// One reading of a job, whose dsmrun has that pid.
std::string prometheus_text(int job, const std::vector<NodeView>& nodes);

}  // namespace dsm::tools
