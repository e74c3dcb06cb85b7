#include "runtime/snapshot.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "base/log.h"
#include "runtime/leases.h"
#include "runtime/local_memory.h"
#include "runtime/node.h"
#include "runtime/pages.h"

namespace dsm::runtime {
namespace {

// Of the one fork that is under way; under jemalloc's locks.
int file = -1;
bool whole = false;
std::uint64_t lent_chunks = 0;

constexpr std::size_t kPagesAtOnce = 64;
alignas(kPageBytes) std::byte buffer[kPagesAtOnce * kPageBytes];

const char* folder_of_file() {
  const char* const folder = std::getenv("TMPDIR");
  return folder != nullptr && *folder != '\0' ? folder : "/var/tmp";
}

int open_file() {
  char path[4096];
  std::snprintf(path, sizeof path, "%s/dsm-fork-XXXXXX", folder_of_file());
  const int fd = ::mkostemp(path, O_CLOEXEC);
  if (fd >= 0) ::unlink(path);
  return fd;
}

// Calls use(address, offset in the file) for each chunk that this node has leased, until it fails.
template <typename Use>
bool for_own_chunks(const Node& node, Use use) {
  off_t offset = 0;
  for (std::uint64_t chunk = 0; chunk < lent_chunks; ++chunk) {
    if (!node.leases->is_own(chunk)) continue;
    if (!use(node.geometry.lent_first() + chunk * kPagesPerChunk, offset)) return false;
    offset += static_cast<off_t>(kChunkBytes);
  }
  return ::ftruncate(file, offset) == 0;
}

// A full disk takes a part first, and says why with the next one.
bool write_buffer(off_t at) {
  for (std::size_t done = 0; done < sizeof buffer;) {
    const ssize_t wrote = ::pwrite(file, buffer + done, sizeof buffer - done, at + static_cast<off_t>(done));
    if (wrote < 0 && errno != EINTR) return false;
    if (wrote > 0) done += static_cast<std::size_t>(wrote);
  }
  return true;
}

// Reads as the program does: a page that is not here is fetched.
bool copy_chunk(const Node& node, PageId first, off_t offset) {
  for (std::uint64_t page = 0; page < kPagesPerChunk; page += kPagesAtOnce) {
    std::size_t touched = 0;
    for (std::uint64_t i = 0; i < kPagesAtOnce; ++i) {
      const PageId from = first + page + i;
      std::byte* const to = buffer + i * kPageBytes;
      if (node.pages->never_touched(from)) {
        std::memset(to, 0, kPageBytes);
      } else {
        std::memcpy(to, reinterpret_cast<const void*>(node.geometry.address_of(from)), kPageBytes);
        ++touched;
      }
    }
    const auto at = offset + static_cast<off_t>(page * kPageBytes);
    if (touched != 0 && !write_buffer(at)) return false;
  }
  return true;
}

}  // namespace

void take_snapshot(Node& node) {
  whole = false;
  if (node.geometry.program_nodes() != 1) return;
  lent_chunks = node.leases->lent();
  file = open_file();
  if (file >= 0) {
    node.pages->freeze(true);
    for_own_chunks(node, [&](PageId first, off_t) {
      node.pages->lower_all(first, kPagesPerChunk);
      return true;
    });
    whole = for_own_chunks(node, [&](PageId first, off_t offset) { return copy_chunk(node, first, offset); });
  }
  if (whole) return;
  log(LogLevel::kError, "fork",
      "the heap cannot be copied for a forked child, to a file in {} (the folder is TMPDIR's, else /var/tmp): {}",
      folder_of_file(), strerrordesc_np(errno));
}

void thaw(Node& node) {
  if (file < 0) return;
  ::close(std::exchange(file, -1));
  node.pages->freeze(false);
  const std::uintptr_t begin = node.geometry.address_of(node.geometry.lent_first());
  if (lent_chunks != 0) node.engine->release_waiters(begin, lent_chunks * kChunkBytes);
}

bool adopt_snapshot(Node& node) {
  if (file < 0) return false;
  const bool mapped =
      whole && for_own_chunks(node, [&](PageId first, off_t offset) {
        void* const wanted = reinterpret_cast<void*>(node.geometry.address_of(first));
        return ::mmap(wanted, kChunkBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, file, offset) == wanted;
      });
  ::close(std::exchange(file, -1));
  return mapped;
}

}  // namespace dsm::runtime
