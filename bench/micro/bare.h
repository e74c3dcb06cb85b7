// The bare mechanism that page mode stands on, with nothing around it: two memfds, one mapped twice, userfaultfd with
// the SIGBUS feature, and a handler that does memcpy and one ioctl. The peer of bench_page's fault figures.
#pragma once

#include <cstddef>
#include <cstdint>

namespace dsm::bench {

class Bare {
 public:
  // kTurn: a read maps, a store unprotects.
  enum class What { kMapWrite, kCopyMapRead, kCopyMapWrite, kUnprotect, kTurn };

  explicit Bare(std::size_t bytes);
  ~Bare();
  Bare(const Bare&) = delete;
  Bare& operator=(const Bare&) = delete;

  std::byte* view() const { return view_; }  // faults
  // From here on faults on view() do this, in the faulting thread. Until disarm() the process's own handler is away.
  void arm(What what);
  void disarm();
  void zap();                                                                // every page faults again; the bytes stay
  void install_for_reading(std::size_t from, std::size_t bytes, bool copy);  // a batch: memcpy and one CONTINUE

  // For the handler.
  void resolve(std::uintptr_t address, bool store);
  bool holds(std::uintptr_t address) const { return address - reinterpret_cast<std::uintptr_t>(view_) < bytes_; }

 private:
  std::size_t bytes_;
  std::byte *view_, *service_, *source_;
  int uffd_ = -1;
  What what_ = What::kMapWrite;
};

}  // namespace dsm::bench
