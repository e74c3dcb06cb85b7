#include "insight/address_samples.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string_view>
#include <utility>

#include "base/allocation_gate.h"
#include "base/futex.h"
#include "base/signals.h"
#include "insight/pfm.h"

namespace dsm::insight {
namespace {

constexpr std::uint64_t kSamplesPerSecond = 997;  // of a thread, about; not in step with what a program does
constexpr std::int64_t kLookNs = 20'000'000;
// A ring costs its thread's context switches some microseconds each, and opening it all threads some milliseconds. Of
// loads, which tell what nothing else does, it is there all the time; of faults, which the recorder counts, too, for
// one look, and then not for so long: a program whose nodes wait for each other took 9 % longer with one look in 16.
constexpr std::int64_t kPauseNs = 2'500'000'000;
constexpr std::size_t kHeadBytes = sizeof(perf_event_header);

// The processor's events that note a load's address, by libpfm4's names for the generations of processors.
constexpr const char* kLoadEvents[] = {
    "MEM_TRANS_RETIRED:LOAD_LATENCY:ldlat=30",
    "MEM_TRANS_RETIRED:LATENCY_ABOVE_THRESHOLD:ldlat=30",
    "MEM_INST_RETIRED:ALL_LOADS",
    "MEM_UOPS_RETIRED:ALL_LOADS",
};
constexpr const char* kIbsType = "/sys/bus/event_source/devices/ibs_op/type";
constexpr std::uint64_t kIbsPeriod = 262'144;  // micro-operations; IBS knows no frequency before Linux 6.2

int open_event(const perf_event_attr& attributes, std::int32_t tid) {
  return static_cast<int>(::syscall(SYS_perf_event_open, &attributes, tid, -1, -1, PERF_FLAG_FD_CLOEXEC));
}

perf_event_attr sampled(std::uint64_t extra) {
  perf_event_attr attributes{};
  attributes.size = sizeof attributes;
  attributes.sample_type = PERF_SAMPLE_IP | PERF_SAMPLE_TID | PERF_SAMPLE_TIME | PERF_SAMPLE_ADDR | extra;
  attributes.freq = 1;
  attributes.sample_freq = kSamplesPerSecond;
  attributes.exclude_kernel = 1;
  attributes.exclude_hv = 1;
  attributes.use_clockid = 1;
  attributes.clockid = CLOCK_MONOTONIC;
  return attributes;
}

std::uint32_t ibs_type() {
  char text[16]{};
  const int fd = ::open(kIbsType, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  const ssize_t got = ::read(fd, text, sizeof text - 1);
  ::close(fd);
  return got > 0 ? static_cast<std::uint32_t>(std::strtoul(text, nullptr, 10)) : 0;
}

bool can_open(const perf_event_attr& attributes) {
  const int fd = open_event(attributes, 0);
  if (fd >= 0) ::close(fd);
  return fd >= 0;
}

// False if this processor, or the kernel, has no such event; errno says why for the last one.
bool choose_loads(perf_event_attr& chosen, const char*& name) {
  const Pfm pfm;
  for (const char* const event : kLoadEvents) {
    perf_event_attr attributes = sampled(PERF_SAMPLE_WEIGHT);
    if (!pfm.encode(event, attributes)) continue;
    attributes.precise_ip = 2;
    attributes.exclude_kernel = 1;
    if (!can_open(attributes)) continue;
    chosen = attributes;
    name = event;
    return true;
  }
  perf_event_attr attributes = sampled(PERF_SAMPLE_WEIGHT);
  attributes.type = ibs_type();
  attributes.freq = 0;
  attributes.sample_period = kIbsPeriod;
  if (attributes.type == 0) return false;
  for (const bool user_only : {true, false}) {  // older kernels refuse IBS that leaves the kernel out
    attributes.exclude_kernel = attributes.exclude_hv = user_only ? 1 : 0;
    if (!can_open(attributes)) continue;
    chosen = attributes;
    name = "ibs_op";
    return true;
  }
  return false;
}

template <typename T>
T taken(const std::byte*& at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  at += sizeof value;
  return value;
}

}  // namespace

RingRecord take_record(std::span<const std::byte>& bytes) {
  RingRecord record;
  perf_event_header header{};
  if (bytes.size() >= kHeadBytes) std::memcpy(&header, bytes.data(), kHeadBytes);
  if (header.size < kHeadBytes || header.size > bytes.size()) {
    bytes = {};
    return record;
  }
  const std::byte* at = bytes.data() + kHeadBytes;
  const std::size_t body = header.size - kHeadBytes;
  bytes = bytes.subspan(header.size);
  constexpr std::size_t kSampleBytes = 4 * sizeof(std::uint64_t);
  if (header.type == PERF_RECORD_SAMPLE && body >= kSampleBytes) {
    record.kind = RingRecord::Kind::kSample;
    record.sample.code = taken<std::uint64_t>(at);
    taken<std::uint32_t>(at);  // the process
    record.sample.tid = taken<std::uint32_t>(at);
    record.sample.at_ns = taken<std::int64_t>(at);
    record.sample.address = taken<std::uint64_t>(at);
    const std::uint64_t weight = body >= kSampleBytes + sizeof(std::uint64_t) ? taken<std::uint64_t>(at) : 0;
    record.sample.latency = static_cast<std::uint32_t>(std::min<std::uint64_t>(weight, UINT32_MAX));
  } else if (header.type == PERF_RECORD_LOST && body >= 2 * sizeof(std::uint64_t)) {
    record.kind = RingRecord::Kind::kLost;
    taken<std::uint64_t>(at);  // the event
    record.lost = taken<std::uint64_t>(at);
  }
  return record;
}

bool AddressSampler::choose_event() {
  perf_event_attr attributes{};
  const char* name = nullptr;
  const char* source = "hardware";
  if (!choose_loads(attributes, name)) {
    attributes = sampled(0);
    attributes.type = PERF_TYPE_SOFTWARE;
    attributes.config = PERF_COUNT_SW_PAGE_FAULTS;
    if (!can_open(attributes)) {
      part_.address_errno.store(static_cast<std::uint64_t>(errno));
      return false;
    }
    name = "page-faults";
    source = "software";
  }
  std::strncpy(part_.address_event, name, sizeof part_.address_event - 1);
  std::strncpy(part_.address_source, source, sizeof part_.address_source - 1);
  const auto* const bytes = reinterpret_cast<const std::byte*>(&attributes);
  attributes_.assign(bytes, bytes + sizeof attributes);
  return true;
}

void AddressSampler::start() {
  const int saved_errno = errno;
  if (choose_event()) {
    const SignalsBlocked blocked;  // inherited: no handler of the program ever runs on this thread
    thread_ = std::thread([this] { loop(); });
  }
  errno = saved_errno;
}

void AddressSampler::stop() {
  if (!thread_.joinable()) return;
  stopping_.store(1);
  futex_wake(stopping_, 1, FutexScope::kProcess);
  thread_.join();
}

void AddressSampler::loop() {
  const OwnAllocations own;
  ::prctl(PR_SET_NAME, "dsm-samples");
  const bool always = std::string_view(part_.address_source) == "hardware";
  while (stopping_.load() == 0) {
    look_for_threads();
    futex_wait(stopping_, 0, FutexScope::kProcess, kLookNs);
    for (const Ring& ring : rings_) carry(ring);
    if (always) continue;
    close_rings();
    futex_wait(stopping_, 0, FutexScope::kProcess, kPauseNs);
  }
  close_rings();
}

void AddressSampler::close_rings() {
  for (const Ring& ring : rings_) close_ring(ring);
  rings_.clear();
}

// Rings for threads that are new, and none for those that are gone.
void AddressSampler::look_for_threads() {
  DIR* const folder = ::opendir("/proc/self/task");
  if (folder == nullptr) return;
  for (Ring& ring : rings_) ring.seen = false;
  const std::vector<std::int32_t> refused_before = std::exchange(refused_, {});  // those that are gone are forgotten
  while (const dirent* const entry = ::readdir(folder)) {
    std::int32_t tid = 0;
    const std::string_view name = entry->d_name;
    if (std::from_chars(name.data(), name.data() + name.size(), tid).ec != std::errc{}) continue;
    const auto known = std::ranges::find(rings_, tid, &Ring::tid);
    if (known != rings_.end()) {
      known->seen = true;
    } else if (std::ranges::find(refused_before, tid) == refused_before.end()) {
      open_ring(tid);
    } else {
      refused_.push_back(tid);
    }
  }
  ::closedir(folder);
  std::erase_if(rings_, [this](const Ring& ring) {
    if (!ring.seen) close_ring(ring);
    return !ring.seen;
  });
}

void AddressSampler::open_ring(std::int32_t tid) {
  perf_event_attr attributes;
  std::memcpy(&attributes, attributes_.data(), sizeof attributes);
  const int file = rings_.size() < kMostRings ? open_event(attributes, tid) : -1;
  const std::size_t bytes = (1 + kRingPages) * kPageBytes;
  void* const mapped = file < 0 ? MAP_FAILED : ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (mapped != MAP_FAILED) {
    rings_.push_back({tid, file, mapped, true});
    return;
  }
  if (file >= 0) ::close(file);
  refused_.push_back(tid);
  part_.threads_unsampled.fetch_add(1, std::memory_order_relaxed);
}

void AddressSampler::close_ring(const Ring& ring) {
  carry(ring);
  ::munmap(ring.mapped, (1 + kRingPages) * kPageBytes);
  ::close(ring.file);
}

void AddressSampler::carry(const Ring& ring) {
  auto& control = *static_cast<perf_event_mmap_page*>(ring.mapped);
  const std::byte* const records = static_cast<const std::byte*>(ring.mapped) + kPageBytes;
  constexpr std::size_t kBytes = kRingPages * kPageBytes;
  const std::uint64_t head = std::atomic_ref<__u64>(control.data_head).load(std::memory_order_acquire);
  const std::uint64_t tail = control.data_tail;
  std::byte copy[kBytes];
  const std::size_t size = std::min<std::uint64_t>(head - tail, kBytes);
  for (std::size_t done = 0; done < size;) {
    const std::size_t from = (tail + done) % kBytes;
    const std::size_t count = std::min(size - done, kBytes - from);
    std::memcpy(copy + done, records + from, count);
    done += count;
  }
  std::atomic_ref<__u64>(control.data_tail).store(head, std::memory_order_release);
  for (std::span<const std::byte> left{copy, size}; !left.empty();) {
    const RingRecord record = take_record(left);
    if (record.kind == RingRecord::Kind::kSample) keep(record.sample);
    if (record.kind == RingRecord::Kind::kLost) part_.addresses_lost.fetch_add(record.lost, std::memory_order_relaxed);
  }
}

void AddressSampler::keep(const AddressSample& sample) {
  if (sample.address - range_.begin >= range_.bytes) {
    part_.addresses_elsewhere.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  const std::uint64_t index = part_.addresses.fetch_add(1, std::memory_order_relaxed);
  if (index < kAddresses) part_.address[index] = sample;
}

}  // namespace dsm::insight
