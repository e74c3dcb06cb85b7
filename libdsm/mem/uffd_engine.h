// What both userfaultfd engines share: permissions on pages, and chunks that become shared.
//
//   none   no page table entry, or a write-protect mark without a page: a touch is a MISSING or MINOR fault
//   read   mapped write-protected: a store is a WP fault
//   write  mapped
//
// 1. Everything in attached_ is registered MISSING | MINOR | WP, so the kernel never maps a page there by itself.
// 2. Requests come back with EAGAIN while a mapping is on the move, and with a part done: they are repeated to the end.
#pragma once

#include "mem/chunk_set.h"
#include "mem/fault_engine.h"
#include "mem/move_attendant.h"
#include "mem/userfault.h"

namespace dsm::mem {

struct UffdParts {  // what can fail while it is made
  Geometry geometry;
  std::byte* service;
  Userfault userfault;
  ChunkSet attached;
};
Result<UffdParts> make_uffd_parts(const Geometry& geometry, std::byte* service, FaultRoute route);

class UffdEngine : public FaultEngine {
 public:
  ~UffdEngine() override;

  Result<void> start(FaultSink& sink) override;
  void stop() override;
  Result<void> attach(std::uintptr_t address, std::size_t bytes) override;

  void map(PageRange pages, Access access) override;
  void bring(PageRange pages, const std::byte* bytes, Access access) override;
  void raise(PageRange pages) override;
  void lower(PageRange pages) override;
  void unmap(PageRange pages) override;
  void unmap_all(std::span<const PageRange> ranges) override;

  Result<void> seal_private(std::uintptr_t chunk, std::byte* moved_to) override;
  Result<void> replace_sealed(std::uintptr_t chunk, int memory_fd, std::uint64_t offset) override;
  void release_waiters(std::uintptr_t address, std::size_t bytes) override;

 protected:
  UffdEngine(UffdParts parts, MoveAttendant::Duty duty)
      : parts_(std::move(parts)), attendant_(parts_.userfault, duty) {}

  virtual Result<void> begin() = 0;  // faults are delivered from its return on
  virtual void end() = 0;            // and no longer

  const Geometry& geometry() const { return parts_.geometry; }
  const Userfault& userfault() const { return parts_.userfault; }
  const ChunkSet& attached() const { return parts_.attached; }
  FaultSink& sink() { return *sink_; }

 private:
  void map_part(std::uintptr_t address, std::size_t bytes, Access access);
  void bring_part(std::uintptr_t address, std::size_t bytes, const std::byte* from, Access access);
  void map_present(std::uintptr_t page, Access access);
  bool bring_zeroes(std::uintptr_t address, Access access);
  void fill_holes(std::uintptr_t address, std::size_t bytes);
  void write_protect(PageRange pages, bool on);
  void write_protect_part(std::uintptr_t address, std::size_t bytes, bool on);

  UffdParts parts_;
  FaultSink* sink_ = nullptr;
  MoveAttendant attendant_;
  int self_ = -1;  // this process, for process_madvise; -1: this kernel advises no ranges of one's own
  bool running_ = false;
};

Result<std::unique_ptr<FaultEngine>> make_uffd_inline(const Geometry& geometry, std::byte* service);
Result<std::unique_ptr<FaultEngine>> make_uffd_thread(const Geometry& geometry, std::byte* service);

}  // namespace dsm::mem
