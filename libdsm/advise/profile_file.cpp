#include "advise/profile_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>

namespace dsm::advise {

using insight::FileHead;
using insight::NodePart;

Result<std::unique_ptr<ProfileFile>> ProfileFile::open(const std::string& name) {
  const int fd = ::open(name.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return fail(Errc::kNotFound, "cannot open it", errno);
  struct stat status {};
  const bool known = ::fstat(fd, &status) == 0;
  const auto size = known ? static_cast<std::size_t>(status.st_size) : 0;
  void* const bytes = size >= sizeof(FileHead) ? ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;
  ::close(fd);
  if (bytes == MAP_FAILED) return fail(Errc::kProtocol, "it is no profile of dsmrun --profile");
  auto file = std::unique_ptr<ProfileFile>(new ProfileFile(static_cast<const std::byte*>(bytes), size));
  const FileHead& head = file->head();
  if (std::memcmp(head.magic, insight::kProfileMagic, sizeof head.magic) != 0) {
    return fail(Errc::kProtocol, "it is no profile of dsmrun --profile");
  }
  if (head.nodes == 0 || head.nodes > kMaxNodes || head.memory_nodes >= head.nodes ||
      head.part_bytes != insight::kPartBytes || size != sizeof(FileHead) + head.nodes * insight::kPartBytes) {
    return fail(Errc::kProtocol, "it is a profile of another version of libdsm, or cut short");
  }
  return file;
}

ProfileFile::~ProfileFile() { ::munmap(const_cast<std::byte*>(bytes_), size_); }

const NodePart& ProfileFile::part(unsigned node) const {
  return *reinterpret_cast<const NodePart*>(bytes_ + sizeof(FileHead) + node * insight::kPartBytes);
}

Geometry ProfileFile::geometry() const {
  Geometry geometry;
  geometry.base = head().base;
  geometry.slice_bytes = head().slice_bytes;
  geometry.interleaved_bytes = head().interleaved_bytes;
  geometry.nodes = head().nodes;
  geometry.memory_nodes = head().memory_nodes;
  return geometry;
}

std::int64_t ProfileFile::begin_ns() const {
  std::int64_t begin = INT64_MAX;
  for (unsigned node = 0; node < nodes(); ++node) {
    if (joined(node)) begin = std::min(begin, part(node).begin_ns);
  }
  return begin == INT64_MAX ? 0 : begin;
}

std::int64_t ProfileFile::end_ns() const {
  std::int64_t end = begin_ns();
  for (unsigned node = 0; node < nodes(); ++node) {
    end = std::max(end, static_cast<std::int64_t>(part(node).end_ns.load()));
    for (std::size_t i = 0; i < samples(node); ++i) end = std::max(end, part(node).sample[i].at_ns);
  }
  return end;
}

std::size_t ProfileFile::samples(unsigned node) const {
  return std::min<std::size_t>(part(node).samples.load(), insight::kSamples);
}

std::vector<PageUse> ProfileFile::pages() const {
  std::map<PageId, PageUse> found;
  for (unsigned node = 0; node < nodes(); ++node) {
    for (const insight::PageRecord& record : part(node).page) {
      const std::uint64_t key = record.key.load();
      if (key == 0) continue;
      NodeUse use;
      use.node = static_cast<NodeId>(node);
      use.reads = record.reads.load();
      use.writes = record.writes.load();
      use.waits = record.waits.load();
      use.fault_ns = record.fault_ns.load();
      use.wait_ns = record.wait_ns.load();
      use.invalidated = record.invalidated.load() + record.lowered.load();
      use.moved = record.fetched.load() + record.written_back.load();
      use.streamed = record.streamed.load();
      use.locked = record.locked.load();
      if (const std::uint64_t lock = record.lock.load(); lock != 0) use.lock_page = lock - 1;
      use.granules_read = record.granules_read.load();
      use.granules_written = record.granules_written.load();
      PageUse& page = found[key - 1];
      page.page = key - 1;
      page.nodes.push_back(use);
    }
  }
  std::vector<PageUse> pages;
  pages.reserve(found.size());
  for (auto& [number, page] : found) pages.push_back(std::move(page));
  return pages;
}

}  // namespace dsm::advise
