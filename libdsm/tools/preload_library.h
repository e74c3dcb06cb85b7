// Where libdsm_preload.so is, and whether a program can be started on it.
#pragma once

#include <string>

#include "cluster/preflight.h"

namespace dsm::tools {

// Puts the library first in LD_PRELOAD for what this process starts. `program`: the file that is to run on it.
// An obstacle: the library is not beside dsmrun, or the loader would pass it over without a word.
std::optional<cluster::Obstacle> preload_for(const std::string& program);

}  // namespace dsm::tools
