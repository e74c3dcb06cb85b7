#include "net/overflow.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>

#include "base/check.h"

namespace dsm::net {

struct Overflow::Block {
  static constexpr std::size_t kParcels = 1023;

  Block* next;
  Parcel parcels[kParcels];
};

Overflow::~Overflow() {
  while (read_block_ != nullptr) {
    Block* next = read_block_->next;
    munmap(read_block_, sizeof(Block));
    read_block_ = next;
  }
}

const Parcel& Overflow::front() const {
  DSM_CHECK(!empty());
  return read_block_->parcels[read_];
}

Result<void> Overflow::push(std::int64_t due_ns, std::span<const std::byte> message) {
  DSM_CHECK(message.size() <= kMaxMessageBytes);
  if (write_block_ == nullptr || write_ == Block::kParcels) {
    const int saved_errno = errno;
    void* memory = mmap(nullptr, sizeof(Block), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
      const int why = errno;
      errno = saved_errno;
      return fail(Errc::kNoMemory, "no memory for messages to a node that does not take them", why);
    }
    auto* block = static_cast<Block*>(memory);
    (write_block_ == nullptr ? read_block_ : write_block_->next) = block;
    write_block_ = block;
    write_ = 0;
  }
  Parcel& parcel = write_block_->parcels[write_++];
  parcel.due_ns = due_ns;
  parcel.length = static_cast<std::uint8_t>(message.size());
  if (!message.empty()) std::memcpy(parcel.bytes, message.data(), message.size());
  return {};
}

void Overflow::pop() {
  DSM_CHECK(!empty());
  ++read_;
  if (read_block_ == write_block_) {
    if (read_ == write_) read_ = write_ = 0;
    return;
  }
  if (read_ < Block::kParcels) return;
  Block* done = read_block_;
  read_block_ = done->next;
  read_ = 0;
  munmap(done, sizeof(Block));
}

}  // namespace dsm::net
