// Where libdsm_preload.so is, and whether a program can be started on it.
#pragma once

#include <string>
#include <tl/expected.hpp>

#include "cluster/preflight.h"

namespace dsm::tools {

// "LD_PRELOAD=..." that puts the library in front of `program`, a file.
// An obstacle: the library is not beside dsmrun, or the loader would pass it over without a word.
tl::expected<std::string, cluster::Obstacle> preload_for(const std::string& program);

}  // namespace dsm::tools
