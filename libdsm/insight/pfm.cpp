#include "insight/pfm.h"

#include <dlfcn.h>

namespace dsm::insight {

Pfm::Pfm() : library_(::dlopen("libpfm.so.4", RTLD_NOW | RTLD_LOCAL)) {
  if (library_ == nullptr) return;
  auto* const initialize = reinterpret_cast<int (*)()>(::dlsym(library_, "pfm_initialize"));
  encode_ = reinterpret_cast<Encode*>(::dlsym(library_, "pfm_get_os_event_encoding"));
  if (initialize == nullptr || initialize() != 0) encode_ = nullptr;
}

Pfm::~Pfm() {
  if (library_ != nullptr) ::dlclose(library_);
}

bool Pfm::encode(const char* event, perf_event_attr& attributes) const {
  constexpr int kUserMode = 0x8;  // PFM_PLM3
  constexpr int kPerfEvent = 1;   // PFM_OS_PERF_EVENT
  Argument argument{&attributes, nullptr, sizeof(Argument), 0, 0, 0, 0};
  return encode_ != nullptr && encode_(event, kUserMode, kPerfEvent, &argument) == 0;
}

}  // namespace dsm::insight
