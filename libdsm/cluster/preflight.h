// What can be known to go wrong before a job starts, in sentences that say what to do.
#pragma once

#include <optional>
#include <string>

#include "base/geometry.h"
#include "base/result.h"

namespace dsm::cluster {

struct Obstacle {
  int exit_code;
  std::string text;
};

// Finds the program as execvp(3) would. The obstacle has exit code 126 or 127.
tl::expected<std::string, Obstacle> find_program(const std::string& name);

// Why the kernel refused to execute a program that find_program has found.
Obstacle exec_obstacle(const std::string& path, int error);

// Limits of this process and machine. Raises the soft limit on open files if that is all it takes.
std::optional<Obstacle> find_obstacle(const Geometry& geometry);

// The slice of `geometry`, halved until the job fits the processor's address space: for a user who asked for no size.
std::uint64_t largest_slice(Geometry geometry);

// In words, for a failure of make_job_memory, spawn and the like.
Obstacle obstacle_of(const Error& error);

}  // namespace dsm::cluster
