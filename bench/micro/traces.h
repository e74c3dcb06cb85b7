// Page traces for bench_eviction: which page a program touches next. A page is named by a small number; touching the
// page that was touched last is no touch.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace dsm::bench {

struct PageTrace {
  std::string name;
  std::string what;
  std::uint32_t pages;        // numbers are below it
  std::uint32_t cache_pages;  // the cache to try it with
  std::vector<std::uint32_t> touches;
};

// All of them; `scale` of 1 is some million touches.
std::vector<PageTrace> make_traces(double scale);

}  // namespace dsm::bench
