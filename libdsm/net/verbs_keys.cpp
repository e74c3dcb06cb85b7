#include "net/verbs_keys.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <mutex>

#include "base/check.h"
#include "base/signals.h"
#include "base/sparse.h"
#include "net/verbs_memory.h"

namespace dsm::net::verbs {
namespace {

constexpr std::uint64_t kMostUnits = std::uint64_t{1} << 20;
constexpr unsigned kChunkUnitShift = 21;
constexpr unsigned kGranuleUnitShift = 16;
constexpr unsigned kMetaUnitShift = 18;

unsigned shift_for(std::uint64_t bytes, unsigned least, bool whole) {
  unsigned shift = least;
  const std::uint64_t most = whole ? 1 : kMostUnits;
  while ((bytes >> shift) > most || (whole && (std::uint64_t{1} << shift) < bytes)) ++shift;
  return shift;
}

}  // namespace

UnitMap::UnitMap(const RegionSizes& sizes, std::uint64_t interleaved_from, bool whole) {
  const std::uint64_t memory = sizes[static_cast<std::size_t>(Region::kMemory)];
  const std::uint64_t meta = sizes[static_cast<std::size_t>(Region::kMeta)];
  const std::uint64_t from = std::min(memory, interleaved_from);
  kinds_ = {Kind{Region::kMemory, 0, from, shift_for(from, kChunkUnitShift, whole), 0},
            Kind{Region::kMemory, from, memory, shift_for(memory - from, kGranuleUnitShift, whole), 0},
            Kind{Region::kMeta, 0, meta, shift_for(meta, kMetaUnitShift, whole), 0}};
  for (std::size_t i = 1; i < kinds_.size(); ++i) {
    kinds_[i].first_unit = kinds_[i - 1].first_unit + units_of(kinds_[i - 1]);
  }
}

Unit UnitMap::unit_of(const Kind& kind, std::uint64_t number) {
  const std::uint64_t begin = kind.begin + (number << kind.shift);
  return {kind.first_unit + number, kind.region, begin, std::min(kind.end, begin + (std::uint64_t{1} << kind.shift))};
}

Unit UnitMap::at(Region region, std::uint64_t offset) const {
  const Kind& kind = region == Region::kMeta ? kinds_[2] : kinds_[offset < kinds_[0].end ? 0 : 1];
  return unit_of(kind, (offset - kind.begin) >> kind.shift);
}

Unit UnitMap::at(std::uint64_t index) const {
  std::size_t kind = kinds_.size() - 1;
  while (index < kinds_[kind].first_unit) --kind;
  return unit_of(kinds_[kind], index - kinds_[kind].first_unit);
}

Result<std::unique_ptr<OwnUnits>> OwnUnits::make(const Device& device, const UnitMap& units, const RegionBases& bases,
                                                 bool on_demand) {
  std::unique_ptr<OwnUnits> own(new OwnUnits(device, units, bases, on_demand));
  own->table_ = static_cast<std::atomic<std::uint64_t>*>(map_unforked(units.count() * sizeof(std::uint64_t)));
  own->registrations_ = map_sparse<std::atomic<ibv_mr*>>(units.count(), AtFork::kAbsent);
  if (own->table_ == nullptr || own->registrations_ == nullptr) {
    return fail(Errc::kNoMemory, "no memory for the table of registered memory", errno);
  }
  own->table_mr_ = device.register_memory(own->table_, units.count() * sizeof(std::uint64_t), false);
  if (own->table_mr_ == nullptr) return fail(Errc::kNoMemory, "the table of keys cannot be registered", errno);
  return own;
}

OwnUnits::~OwnUnits() {
  const Library& library = device_.library();
  for (ibv_mr* const mr : made_) library.deregister_memory(mr);
  if (table_mr_ != nullptr) library.deregister_memory(table_mr_);
  if (table_ != nullptr) ::munmap(table_, units_.count() * sizeof(std::uint64_t));
  if (registrations_ != nullptr) ::munmap(registrations_, units_.count() * sizeof(ibv_mr*));
}

void OwnUnits::expose(const Unit& unit) {
  if (key(unit.index).state != KeyState::kEmpty) return;
  const SignalsBlocked blocked;
  const std::lock_guard guard(lock_);
  if (key(unit.index).state != KeyState::kEmpty) return;
  const std::uint64_t bytes = unit.end - unit.begin;
  ibv_mr* const mr =
      device_.register_memory(bases_[static_cast<std::size_t>(unit.region)] + unit.begin, bytes, on_demand_);
  if (mr == nullptr) {
    table_[unit.index].store(pack({KeyState::kFailed, 0}), std::memory_order_release);
    return;
  }
  made_.push_back(mr);
  registrations_[unit.index].store(mr, std::memory_order_release);
  registered_bytes_.fetch_add(bytes, std::memory_order_relaxed);
  table_[unit.index].store(pack({KeyState::kRegistered, mr->rkey}), std::memory_order_release);
}

bool OwnUnits::local_key(std::uint64_t index, std::uint32_t& lkey) const {
  const ibv_mr* const mr = registrations_[index].load(std::memory_order_acquire);
  if (mr == nullptr) return false;
  lkey = mr->lkey;
  return true;
}

}  // namespace dsm::net::verbs
