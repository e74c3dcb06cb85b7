#include "insight/recorder.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/clock.h"
#include "base/modules.h"
#include "base/sparse.h"
#include "insight/marks.h"
#include "insight/stack.h"

namespace dsm::insight {

[[gnu::tls_model("initial-exec")]] constinit thread_local HeldLocks held_locks{};

namespace {

constexpr std::size_t kMostProbes = 64;  // of a table that is nearly full
constexpr std::size_t kSmallBlock = kPageBytes;
constexpr std::uint64_t kRarest = 1 << 20;  // one sample in so many, at the least

std::uint64_t mix(std::uint64_t value) {
  value ^= value >> 33;
  value *= 0xff51afd7ed558ccdU;
  value ^= value >> 33;
  value *= 0xc4ceb9fe1a85ec53U;
  return value ^ value >> 33;
}

void bump(Counter& counter, std::uint64_t by = 1) { counter.fetch_add(by, std::memory_order_relaxed); }

// The slot of `key`, which is not 0; nullptr if the table has no room for it. Keys that follow each other have slots
// that do: the file's pages are touched one after another, and a run of pages is in the cache.
template <typename Slot>
Slot* find_slot(Slot* table, std::size_t slots, std::uint64_t key) {
  constexpr std::uint64_t kRun = 32;
  const std::uint64_t first = mix(key / kRun);
  for (std::size_t probe = 0; probe < kMostProbes; ++probe) {
    Slot& slot = table[((first + probe) * kRun + key % kRun) % slots];
    std::uint64_t seen = slot.key.load(std::memory_order_relaxed);
    if (seen == 0 && slot.key.compare_exchange_strong(seen, key, std::memory_order_relaxed)) return &slot;
    if (seen == key) return &slot;
  }
  return nullptr;
}

// Adds the time to its end to a counter.
class Timed {
 public:
  Timed(Counter& sum, std::int64_t begin) : sum_(sum), begin_(begin) {}
  ~Timed() { bump(sum_, static_cast<std::uint64_t>(std::max<std::int64_t>(now_ns() - begin_, 0))); }
  Timed(const Timed&) = delete;
  Timed& operator=(const Timed&) = delete;

 private:
  Counter& sum_;
  const std::int64_t begin_;
};

// Whether the `number`th event is one of those that are kept, one in `period`; not every so many, lest a program
// that does things in turn be seen to do the same always.
bool chosen(std::uint64_t number, std::uint32_t period) { return period == 1 || mix(number) % period == 0; }

void write_head(FileHead& head, const Geometry& geometry, const std::string& emulate) {
  head.nodes = geometry.nodes;
  head.memory_nodes = geometry.memory_nodes;
  head.part_bytes = kPartBytes;
  head.base = geometry.base;
  head.slice_bytes = geometry.slice_bytes;
  head.interleaved_bytes = geometry.interleaved_bytes;
  std::memcpy(head.emulate, emulate.data(), std::min(emulate.size(), sizeof head.emulate - 1));
  std::memcpy(head.magic, kProfileMagic, sizeof head.magic);
}

}  // namespace

// Every node makes the file the size it has to be and writes the same head: whoever comes first changes nothing for
// the others.
Result<std::unique_ptr<Recorder>> Recorder::open(const std::string& file, const Geometry& geometry, NodeId self,
                                                 const std::string& emulate) {
  const int fd = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return fail(Errc::kSystem, "cannot open the profile's file (DSM_PROFILE)", errno);
  const std::uint64_t part_at = sizeof(FileHead) + std::uint64_t{self} * kPartBytes;
  void* head = MAP_FAILED;
  void* part = MAP_FAILED;
  if (::ftruncate(fd, static_cast<off_t>(sizeof(FileHead) + geometry.nodes * kPartBytes)) == 0) {
    head = ::mmap(nullptr, sizeof(FileHead), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    part = ::mmap(nullptr, kPartBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, static_cast<off_t>(part_at));
  }
  const int error = errno;
  ::close(fd);
  if (head == MAP_FAILED || part == MAP_FAILED) {
    return fail(Errc::kSystem, "cannot map the profile's file (DSM_PROFILE)", error);
  }
  write_head(*static_cast<FileHead*>(head), geometry, emulate);
  ::munmap(head, sizeof(FileHead));
  auto recorder = std::unique_ptr<Recorder>(new Recorder(static_cast<NodePart*>(part), geometry));
  return recorder;
}

Recorder::Recorder(NodePart* part, const Geometry& geometry)
    : part_(part), sampler_(*part, {geometry.base, geometry.memory_bytes()}) {
  part_->pid = ::getpid();
  part_->begin_ns = now_ns();
  part_->rate_period.store(1);
  counters_.start();
  take_maps();
  take_modules();
}

Recorder::~Recorder() {
  sampler_.stop();
  ::munmap(part_, kPartBytes);
}

void Recorder::sample_addresses() { sampler_.start(); }

void Recorder::engine(const char* name) { std::strncpy(part_->engine, name, sizeof part_->engine - 1); }

PageRecord* Recorder::record(PageId page) {
  PageRecord* const found = find_slot(part_->page, kPageSlots, page + 1);
  if (found == nullptr) bump(part_->faults_without_slot);
  return found;
}

void Recorder::add(PageRange pages, Counter PageRecord::*counter) {
  for (std::uint32_t i = 0; i < pages.count; ++i) {
    if (PageRecord* const found = record(pages.first + i)) bump(found->*counter);
  }
}

void Recorder::fault(const Fault& fault) {
  const std::uint64_t number = part_->faults.fetch_add(1, std::memory_order_relaxed);
  const auto ns = static_cast<std::uint64_t>(std::max<std::int64_t>(fault.ns, 0));
  const std::uint64_t offset = fault.address % kPageBytes;
  if (PageRecord* const page = record(fault.page)) {
    bump(fault.write ? page->writes : page->reads);
    bump(page->fault_ns, ns);
    if (held_locks.count != 0 && fault.in_thread) {
      bump(page->locked);
      page->lock.store(held_locks.last + 1, std::memory_order_relaxed);
    }
    Counter& granules = fault.write ? page->granules_written : page->granules_read;
    const std::uint64_t bit = std::uint64_t{1} << offset / 64;
    if ((granules.load(std::memory_order_relaxed) & bit) == 0) granules.fetch_or(bit, std::memory_order_relaxed);
  }
  const auto [sample, weight] = take_sample(number, fault.begin_ns + fault.ns);
  if (sample == nullptr) return;
  const Timed timed(part_->stacks_ns, fault.begin_ns + fault.ns);
  sample->at_ns = fault.begin_ns;
  sample->page = fault.page;
  sample->fault_ns = ns;
  sample->tid = static_cast<std::uint32_t>(fault.tid);
  sample->offset = static_cast<std::uint16_t>(offset);
  sample->what = fault.write ? What::kWriteFault : What::kReadFault;
  std::size_t depth = 0;
  if (fault.in_thread) {
    depth = walk_stack(From::kInterrupted, sample->stack, kDepth);
  } else if ((sample->stack[0] = suspended_at(fault.tid)) != 0) {
    depth = 1;
  }
  sample->depth = static_cast<std::uint8_t>(depth);
  sample->weight = weight;
}

// A slot for event `number` if it is to be sampled. Threads that come at the same time may take some
// more or fewer than a window has.
Recorder::Taken Recorder::take_sample(std::uint64_t number, std::int64_t now) {
  const auto window = static_cast<std::uint64_t>(now / kWindowNs);
  std::uint64_t before = part_->rate_window.load(std::memory_order_relaxed);
  if (window != before && part_->rate_window.compare_exchange_strong(before, window, std::memory_order_relaxed)) {
    const std::uint64_t taken = part_->rate_taken.exchange(0, std::memory_order_relaxed);
    const std::uint64_t rate = part_->rate_period.load(std::memory_order_relaxed);
    part_->rate_period.store(period_after(rate, taken), std::memory_order_relaxed);
  }
  const std::uint64_t rate = part_->rate_period.load(std::memory_order_relaxed);
  const std::uint32_t scarce = sampling_period(part_->samples.load(std::memory_order_relaxed), kSamples);
  const std::uint32_t period = std::max(scarce, static_cast<std::uint32_t>(rate));
  if (!chosen(number, period)) return {};
  if (part_->rate_taken.fetch_add(1, std::memory_order_relaxed) % kWindowSamples == kWindowSamples - 1 &&
      rate < kRarest) {
    part_->rate_period.store(rate * 2, std::memory_order_relaxed);
  }
  const std::uint64_t index = part_->samples.fetch_add(1, std::memory_order_relaxed);
  return index < kSamples ? Taken{&part_->sample[index], period} : Taken{};
}

void Recorder::lock_waited(PageId page, std::int64_t begin_ns, std::int64_t ns, pid_t tid) {
  waited(page, ns);
  const std::uint64_t number = part_->lock_waits.fetch_add(1, std::memory_order_relaxed);
  const auto [sample, weight] = take_sample(number, begin_ns + ns);
  if (sample == nullptr) return;
  const Timed timed(part_->stacks_ns, begin_ns + ns);
  sample->at_ns = begin_ns;
  sample->page = page;
  sample->fault_ns = static_cast<std::uint64_t>(std::max<std::int64_t>(ns, 0));
  sample->tid = static_cast<std::uint32_t>(tid);
  sample->what = What::kLockWait;
  sample->depth = static_cast<std::uint8_t>(walk_stack(From::kCaller, sample->stack, kDepth));
  sample->weight = weight;
}

void Recorder::waited(PageId page, std::int64_t ns) {
  PageRecord* const found = record(page);
  if (found == nullptr) return;
  bump(found->waits);
  bump(found->wait_ns, static_cast<std::uint64_t>(std::max<std::int64_t>(ns, 0)));
}

void Recorder::waits(PageId page) {
  PageRecord* const found = record(page);
  if (found == nullptr) return;
  bump(found->waits);
  std::uint64_t none = 0;
  found->wait_since.compare_exchange_strong(none, static_cast<std::uint64_t>(now_ns()), std::memory_order_relaxed);
}

void Recorder::granted(PageId page) {
  PageRecord* const found = record(page);
  if (found == nullptr || found->wait_since.load(std::memory_order_relaxed) == 0) return;
  const std::uint64_t since = found->wait_since.exchange(0, std::memory_order_relaxed);
  if (since == 0) return;
  const auto ns = static_cast<std::uint64_t>(now_ns()) - since;
  bump(found->wait_ns, ns);
  bump(found->fault_ns, ns);
}

// --- allocations ----------------------------------------------------------------------------------------------------

// Large blocks are all kept as long as there is room; of small ones one in so many is. A thread counts for itself how
// many it still passes by.
void Recorder::allocated(const void* block, std::size_t bytes, const void* call) {
  thread_local std::uint32_t passed = 0, next = 0;
  if (block == nullptr) return;
  const std::uint64_t taken = part_->blocks.load(std::memory_order_relaxed);
  const bool large = bytes >= kSmallBlock && taken < kBlocks;
  if (!large && ++passed < next) return;
  const std::uint64_t number = part_->allocations.fetch_add(large ? 1 : passed, std::memory_order_relaxed);
  const std::uint32_t weight = large ? 1 : passed;
  if (!large) {
    const std::uint32_t period = small_block_period(taken);
    passed = 0;
    next = 1 + static_cast<std::uint32_t>(mix(number + 1) % (2 * period - 1));  // `period` on average
  }
  const std::uint64_t index = part_->blocks.fetch_add(1, std::memory_order_relaxed);
  if (index >= kBlocks) return;
  const Timed timed(part_->stacks_ns, now_ns());
  std::uint64_t stack[kDepth];
  const std::size_t depth = walk_stack(From::kCaller, stack, kDepth);
  BlockRecord& record = part_->block[index];
  record.begin = reinterpret_cast<std::uint64_t>(block);
  record.bytes = bytes;
  record.weight = weight;
  record.site = site_of(reinterpret_cast<std::uint64_t>(call), stack, depth);
}

std::uint32_t Recorder::site_of(std::uint64_t call, const std::uint64_t* stack, std::size_t depth) {
  std::uint64_t key = mix(call);
  for (std::size_t i = 0; i < depth; ++i) key = mix(key ^ stack[i]);
  SiteRecord* const site = find_slot(part_->site, kSites, key | 1);
  if (site == nullptr) return 0;
  std::copy_n(stack, depth, site->stack);
  site->depth = depth;
  site->call = call;
  return static_cast<std::uint32_t>(site - part_->site) + 1;
}

// --- the modules, and the end ---------------------------------------------------------------------------------------

void Recorder::take_maps() {
  const int fd = ::open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  std::size_t size = 0;
  ssize_t got = 0;
  while (size < kMapsBytes && (got = ::read(fd, part_->maps + size, kMapsBytes - size)) > 0) {
    size += static_cast<std::size_t>(got);
  }
  ::close(fd);
  part_->maps_bytes.store(size);
}

void Recorder::take_modules() {
  std::size_t count = 0;
  for (const Module& module : loaded_modules()) {
    if (count == kModules) break;
    ModuleRecord& record = part_->module[count++];
    record = {module.begin, module.end, module.bias, {}, {}};
    std::strncpy(record.id, module.id.c_str(), sizeof record.id - 1);
    std::strncpy(record.name, module_name(module.name).c_str(), sizeof record.name - 1);
  }
}

void Recorder::finish() {
  take_maps();
  take_modules();
  sampler_.stop();
  counters_.stop(*part_);
  part_->end_ns.store(static_cast<std::uint64_t>(now_ns()));
}

void Recorder::detach() {
  auto* const own = map_sparse<std::byte>(kPartBytes);  // takes the place of the shared memory
  if (own == nullptr) return;
  ::mremap(own, kPartBytes, kPartBytes, MREMAP_MAYMOVE | MREMAP_FIXED, part_);
}

}  // namespace dsm::insight
