// Which memory the card can reach. Regions are sparse and far larger than what may be locked in memory, so they are
// registered unit by unit, when somebody first needs one. Each node has a table of its units' keys, itself registered
// from the start: others read an entry once, by a one-sided READ, and keep what they read. Where an entry is still
// empty they ask the home for it (verbs_attendant.h), the one time that its CPU is needed for that unit.
//
//   units of kMemory (2 MiB) | units of kMemory from interleaved_from on (64 KiB) | units of kMeta (256 KiB)
//   (larger ones where a table would have more than 2^20 of a kind; one of everything on devices that page on demand)
//
// 1. An entry is written once, by its home: empty -> registered or failed.
// 2. Registered memory is never given back while the job runs: it is the home's part of the memory file, which is never
//    punched.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <vector>

#include "base/futex.h"
#include "net/local_chain.h"
#include "net/verbs_device.h"

namespace dsm::net::verbs {

// A key-table entry:  63..32 state | 31..0 rkey
enum class KeyState : std::uint32_t { kEmpty = 0, kRegistered = 1, kFailed = 2 };
struct Key {
  KeyState state;
  std::uint32_t rkey;
};
constexpr std::uint64_t pack(Key key) { return std::uint64_t{static_cast<std::uint32_t>(key.state)} << 32 | key.rkey; }
constexpr Key unpack_key(std::uint64_t word) {
  return {static_cast<KeyState>(word >> 32), static_cast<std::uint32_t>(word)};
}

// A run of one region's bytes that is registered as a whole.
struct Unit {
  std::uint64_t index;  // in the tables
  Region region;
  std::uint64_t begin;  // offset in its region
  std::uint64_t end;
};

class UnitMap {
 public:
  UnitMap(const RegionSizes& sizes, std::uint64_t interleaved_from, bool whole);
  std::uint64_t count() const { return kinds_.back().first_unit + units_of(kinds_.back()); }
  Unit at(Region region, std::uint64_t offset) const;
  Unit at(std::uint64_t index) const;  // REQUIRES: index < count()

 private:
  struct Kind {
    Region region;
    std::uint64_t begin;
    std::uint64_t end;
    unsigned shift;  // of a unit's size
    std::uint64_t first_unit;
  };
  static std::uint64_t units_of(const Kind& kind) {
    return (kind.end - kind.begin + (std::uint64_t{1} << kind.shift) - 1) >> kind.shift;
  }
  static Unit unit_of(const Kind& kind, std::uint64_t number);

  std::array<Kind, 3> kinds_;
};

// This node's own units.
class OwnUnits {
 public:
  // `on_demand`: the device pages; registering locks nothing.
  static Result<std::unique_ptr<OwnUnits>> make(const Device& device, const UnitMap& units, const RegionBases& bases,
                                                bool on_demand);
  ~OwnUnits();
  OwnUnits(const OwnUnits&) = delete;
  OwnUnits& operator=(const OwnUnits&) = delete;

  // Registers what is not yet. Not for signal context.
  void expose(const Unit& unit);
  Key key(std::uint64_t index) const { return unpack_key(table_[index].load(std::memory_order_acquire)); }
  // The key with which this node's own operations name bytes of its own unit; false if it is not registered.
  bool local_key(std::uint64_t index, std::uint32_t& lkey) const;

  std::uint64_t table_address() const { return reinterpret_cast<std::uint64_t>(table_); }
  std::uint32_t table_key() const { return table_mr_->rkey; }
  std::uint64_t registered_bytes() const { return registered_bytes_.load(std::memory_order_relaxed); }

 private:
  OwnUnits(const Device& device, const UnitMap& units, const RegionBases& bases, bool on_demand)
      : device_(device), units_(units), bases_(bases), on_demand_(on_demand) {}

  const Device& device_;
  const UnitMap& units_;
  const RegionBases bases_;
  const bool on_demand_;
  std::atomic<std::uint64_t>* table_ = nullptr;  // units_.count() entries
  std::atomic<ibv_mr*>* registrations_ = nullptr;
  ibv_mr* table_mr_ = nullptr;
  FutexLock lock_;             // of who registers
  std::vector<ibv_mr*> made_;  // under lock_
  std::atomic<std::uint64_t> registered_bytes_{0};
};

}  // namespace dsm::net::verbs
