#include "mem/private_chunk.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "base/types.h"
#include "mem/give_up.h"

namespace dsm::mem {
namespace {

constexpr std::uint64_t kPresentOrSwapped = std::uint64_t{3} << 62;  // of a word in /proc/self/pagemap

using Pagemap = std::array<std::uint64_t, kPagesPerChunk>;

// What is populated; everything, if /proc cannot tell: then an empty page costs a read of zeros. (mincore cannot tell
// a page in swap from none.)
Pagemap read_pagemap(const std::byte* first) {
  Pagemap words;
  const auto offset = static_cast<off_t>(reinterpret_cast<std::uintptr_t>(first) / kPageBytes * sizeof(words[0]));
  const int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
  const bool known = fd >= 0 && pread(fd, words.data(), sizeof words, offset) == static_cast<ssize_t>(sizeof words);
  if (fd >= 0) close(fd);
  if (!known) words.fill(kPresentOrSwapped);
  return words;
}

bool all_zero(const std::byte* page) {
  std::uint64_t word = 0;
  for (std::size_t at = 0; at < kPageBytes; at += 64) {
    std::uint64_t line[8];
    std::memcpy(line, page + at, sizeof line);
    for (const std::uint64_t part : line) word |= part;
    if (word != 0) return false;
  }
  return true;
}

// Writing to the file takes half the time of storing to a mapping of it: no page is cleared first, and none faults.
// True when all was written.
bool write_to_file(int file, const std::byte* from, std::size_t bytes, std::uint64_t offset) {
  while (bytes > 0) {
    const ssize_t written = pwrite(file, from, bytes, static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    from += written;
    bytes -= static_cast<std::size_t>(written);
    offset += static_cast<std::uint64_t>(written);
  }
  return true;
}

// For what may not be written to (RLIMIT_FSIZE) or is short of memory, which gets its clear line here.
void store_to_view(const std::byte* from, std::size_t bytes, std::byte* to) {
  while (madvise(to, bytes, MADV_POPULATE_WRITE) != 0) {
    if (errno == EINVAL) break;  // Linux before 5.14: the copy faults the pages in
    if (errno != EAGAIN && errno != EINTR) {
      give_up_sig("allocate shared memory for a chunk", reinterpret_cast<std::uintptr_t>(to), errno);
    }
  }
  std::memcpy(to, from, bytes);
}

}  // namespace

Result<void> move_pages(std::uintptr_t from, std::byte* to, std::size_t bytes) {
  void* const source = reinterpret_cast<void*>(from);
  if (mremap(source, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, to) != MAP_FAILED) return {};
  const int error = errno;
  // The program may have split the chunk (mprotect, madvise), and one call moves the pages of one memory area.
  if ((error == EFAULT || error == EINVAL) && bytes > kPageBytes) {
    const std::size_t half = bytes / 2;
    if (auto low = move_pages(from, to, half); !low) return low;
    return move_pages(from + half, to + half, bytes - half);
  }
  return fail(Errc::kSystem, "cannot move the pages of a private chunk", error);
}

void copy_populated(const std::byte* from, int memory_fd, std::uint64_t offset, std::byte* service) {
  const Pagemap pages = read_pagemap(from);
  std::array<bool, kPagesPerChunk> wanted{};
  for (std::size_t page = 0; page < kPagesPerChunk; ++page) {
    wanted[page] = (pages[page] & kPresentOrSwapped) != 0 && !all_zero(from + page * kPageBytes);
  }
  auto first = wanted.begin();
  while (true) {
    first = std::find(first, wanted.end(), true);
    if (first == wanted.end()) return;
    const auto end = std::find(first, wanted.end(), false);
    const auto at = static_cast<std::size_t>(first - wanted.begin()) * kPageBytes;
    const auto bytes = static_cast<std::size_t>(end - first) * kPageBytes;
    if (!write_to_file(memory_fd, from + at, bytes, offset + at)) store_to_view(from + at, bytes, service + at);
    first = end;
  }
}

}  // namespace dsm::mem
