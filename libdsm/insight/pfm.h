// The part of libpfm4 that is used, by its documented interface (perfmon/pfmlib_perf_event.h); looked for when a
// profile is made and not before. Without it no event has an encoding.
#pragma once

#include <linux/perf_event.h>

#include <cstddef>

namespace dsm::insight {

class Pfm {
 public:
  Pfm();
  ~Pfm();
  Pfm(const Pfm&) = delete;
  Pfm& operator=(const Pfm&) = delete;

  // The processor's event by libpfm4's name, in user mode; false if this processor has none of that name.
  bool encode(const char* event, perf_event_attr& attributes) const;

 private:
  struct Argument {  // pfm_perf_encode_arg_t
    perf_event_attr* attributes;
    char** text;
    std::size_t size;
    int index, cpu, flags, pad;
  };
  using Encode = int(const char*, int, int, void*);

  void* library_;
  Encode* encode_ = nullptr;
};

}  // namespace dsm::insight
