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

// Allocates in one call what would be a fault a page.
void populate(std::byte* at, std::size_t bytes) {
  while (madvise(at, bytes, MADV_POPULATE_WRITE) != 0) {
    if (errno == EINVAL) return;  // Linux before 5.14: the copy faults the pages in
    if (errno != EAGAIN && errno != EINTR) {
      give_up_sig("allocate shared memory for a chunk", reinterpret_cast<std::uintptr_t>(at), errno);
    }
  }
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

void copy_populated(std::byte* from, std::byte* to) {
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
    const auto offset = static_cast<std::size_t>(first - wanted.begin()) * kPageBytes;
    const auto bytes = static_cast<std::size_t>(end - first) * kPageBytes;
    populate(to + offset, bytes);
    std::memcpy(to + offset, from + offset, bytes);
    first = end;
  }
}

}  // namespace dsm::mem
