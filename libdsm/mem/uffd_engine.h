// What both userfaultfd engines share: permissions on pages, chunks that become shared, and the thread that reads the
// descriptor.
//
//   none   no page table entry, or a write-protect mark without a page: a touch is a MISSING or MINOR fault
//   read   mapped write-protected: a store is a WP fault
//   write  mapped
//
// 1. Everything in attached_ is registered MISSING | MINOR | WP, so the kernel never maps a page there by itself.
// 2. While the engine runs, its thread reads the descriptor: a mapping that is moved (replace_sealed) waits for that.
// The
//    thread never waits for anything but the descriptor.
// 3. Requests come back with EAGAIN while a mapping is on the move, and with a part done: they are repeated to the end.
#pragma once

#include <atomic>
#include <span>
#include <thread>

#include "mem/chunk_set.h"
#include "mem/fault_engine.h"
#include "mem/userfault.h"

namespace dsm::mem {

class UffdEngine : public FaultEngine {
 public:
  ~UffdEngine() override;

  Result<void> start(FaultSink& sink) override;
  void stop() override;
  Result<void> attach(std::uintptr_t address, std::size_t bytes) override;

  void map(PageRange pages, Access access) override;
  void raise(PageRange pages) override;
  void lower(PageRange pages) override;
  void unmap(PageRange pages) override;

  Result<void> seal_private(std::uintptr_t chunk, std::byte* moved_to) override;
  Result<void> replace_sealed(std::uintptr_t chunk, int memory_fd, std::uint64_t offset) override;
  void release_waiters(std::uintptr_t address, std::size_t bytes) override;

 protected:
  struct Parts {  // what can fail while it is made
    Geometry geometry;
    std::byte* service;
    Userfault userfault;
    ChunkSet attached;
  };
  static Result<Parts> make_parts(const Geometry& geometry, std::byte* service, FaultRoute route);
  explicit UffdEngine(Parts parts) : parts_(std::move(parts)) {}

  virtual Result<void> begin() = 0;  // before the thread starts
  virtual void end() = 0;            // after it has ended
  virtual void on_page_fault(const uffd_msg& message) = 0;

  const Geometry& geometry() const { return parts_.geometry; }
  const Userfault& userfault() const { return parts_.userfault; }
  const ChunkSet& attached() const { return parts_.attached; }
  FaultSink& sink() { return *sink_; }

 private:
  bool keep_trying(int error, const char* what, std::uintptr_t address) const;
  void map_part(std::uintptr_t address, std::size_t bytes, Access access);
  void map_present(std::uintptr_t page, Access access);
  void fill_holes(std::uintptr_t address, std::size_t bytes);
  void write_protect(PageRange pages, bool on);
  void write_protect_part(std::uintptr_t address, std::size_t bytes, bool on);
  void read_loop();
  bool wait_for_message();

  Parts parts_;
  FaultSink* sink_ = nullptr;
  std::thread reader_;
  int stop_fd_ = -1;
  bool running_ = false;
};

Result<std::unique_ptr<FaultEngine>> make_uffd_inline(const Geometry& geometry, std::byte* service);
Result<std::unique_ptr<FaultEngine>> make_uffd_thread(const Geometry& geometry, std::byte* service);

}  // namespace dsm::mem
