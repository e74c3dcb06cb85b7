#include "net/verbs_memory.h"

#include <sys/mman.h>

#include <cerrno>
#include <utility>

namespace dsm::net::verbs {

void* map_unforked(std::size_t bytes) {
  void* const at = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return at == MAP_FAILED ? nullptr : at;
}

Buffer::Buffer(Buffer&& other) noexcept { *this = std::move(other); }

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  std::swap(library_, other.library_);
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  std::swap(mr_, other.mr_);
  return *this;
}

Buffer::~Buffer() {
  if (mr_ != nullptr) library_->deregister_memory(mr_);
  if (data_ != nullptr) ::munmap(data_, bytes_);
}

Result<Buffer> Buffer::make(const Device& device, std::size_t bytes) {
  Buffer buffer;
  buffer.library_ = &device.library();
  buffer.data_ = static_cast<std::byte*>(map_unforked(bytes));
  if (buffer.data_ == nullptr) return fail(Errc::kNoMemory, "no memory for the transport's buffers", errno);
  buffer.bytes_ = bytes;
  buffer.mr_ = device.register_memory(buffer.data_, bytes, false);
  if (buffer.mr_ == nullptr) return fail(Errc::kNoMemory, "the transport's buffers cannot be registered", errno);
  return buffer;
}

}  // namespace dsm::net::verbs
