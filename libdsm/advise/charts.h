// The pictures of the HTML report, each an SVG element that stands by itself. Tooltips are <title> elements.
#pragma once

#include <string>
#include <string_view>

#include "advise/advice.h"

namespace dsm::advise {

std::string escaped(std::string_view text);  // for HTML and SVG

// Pages, by site, over time; a cell is as dark as there were faults, and shows which nodes' they were.
std::string heat_map_svg(const Report& report);
// Where the time of faults and waits for locks goes, the program's outermost functions at the bottom.
std::string flame_graph_svg(const Report& report);
// For each node how much of its threads' time faults and waits for locks took.
std::string timeline_svg(const Report& report);

}  // namespace dsm::advise
