#include "net/verbs_lent.h"

#include <sys/mman.h>

#include <cerrno>
#include <mutex>
#include <span>

#include "base/clock.h"
#include "base/log.h"
#include "base/signals.h"

namespace dsm::net::verbs {

LentMemory::~LentMemory() {
  for (const Piece& piece : pieces_) {
    if (piece.mr != nullptr) device_.library().deregister_memory(piece.mr);
    if (piece.gone) ::munmap(piece.at, piece.bytes);
  }
}

void LentMemory::lend(std::byte* at, std::size_t bytes) {
  const std::lock_guard guard(lock_);
  for (std::size_t i = 0; i < kPieces; ++i) {
    if (pieces_[i].state != State::kFree) continue;
    pieces_[i] = {.state = State::kLent, .at = at, .bytes = bytes};
    if (i >= top_) top_ = i + 1;
    return;
  }
}

bool LentMemory::unmap(std::byte* at, std::size_t bytes) {
  {
    const std::lock_guard guard(lock_);
    if (Piece* const piece = find(at, bytes); piece != nullptr) {
      if (piece->state == State::kRegistered || piece->state == State::kBusy) {
        piece->gone = true;
        return true;
      }
      *piece = {};
    }
  }
  ::munmap(at, bytes);
  return false;
}

LentMemory::Use LentMemory::use(const std::byte* at, std::size_t bytes) {
  if (bytes < kLeastBytes) return {};
  const std::lock_guard guard(lock_);
  Piece* const piece = find(at, bytes);
  if (piece == nullptr) return {};
  if (piece->state == State::kRegistered) {
    ++piece->users;
    piece->used_ns = now_ns();
    return {true, false, static_cast<unsigned>(piece - pieces_.data()), piece->mr->lkey};
  }
  if (piece->state != State::kLent || refused_) return {};
  piece->state = State::kWanted;
  return {.work = true};
}

void LentMemory::done(unsigned place) {
  const std::lock_guard guard(lock_);
  --pieces_[place].users;
}

LentMemory::Piece* LentMemory::find(const std::byte* at, std::size_t bytes) {
  for (Piece& piece : std::span(pieces_).first(top_)) {
    if (!piece.gone && piece.at <= at && at + bytes <= piece.at + piece.bytes) return &piece;
  }
  return nullptr;
}

// --- the attendant --------------------------------------------------------------------------------------------------

LentMemory::Piece* LentMemory::next_work() {
  for (Piece& piece : std::span(pieces_).first(top_)) {
    if (piece.gone || piece.state == State::kWanted) return &piece;
  }
  return nullptr;
}

// It holds lock_ but for the calls of the library.
void LentMemory::attend() {
  const SignalsBlocked blocked;
  const std::lock_guard guard(lock_);
  while (Piece* const piece = next_work()) {
    if (piece->gone) {
      take_back(*piece);
      ::munmap(piece->at, piece->bytes);
      *piece = {};
    } else if (make_room(piece->bytes)) {
      enter(*piece);
    } else if (piece->state == State::kWanted) {
      piece->state = State::kLent;
    }
  }
}

bool LentMemory::make_room(std::size_t bytes) {
  while (!refused_ && bytes <= limit_ && registered_bytes_ + bytes > limit_) {
    Piece* oldest = nullptr;
    for (Piece& piece : std::span(pieces_).first(top_)) {
      const bool idle = piece.state == State::kRegistered && piece.users == 0;
      if (idle && (oldest == nullptr || piece.used_ns < oldest->used_ns)) oldest = &piece;
    }
    if (oldest == nullptr || now_ns() - oldest->used_ns < kIdleNs) return false;
    take_back(*oldest);
  }
  return !refused_ && bytes <= limit_;
}

void LentMemory::take_back(Piece& piece) {
  if (piece.mr == nullptr) return;
  piece.state = State::kBusy;
  lock_.unlock();
  device_.library().deregister_memory(piece.mr);
  lock_.lock();
  piece.mr = nullptr;
  piece.state = State::kLent;
  registered_bytes_ -= piece.bytes;
}

void LentMemory::enter(Piece& piece) {
  // Its owner has unmapped it meanwhile, and lent something else perhaps.
  if (piece.state != State::kWanted || registered_bytes_ + piece.bytes > limit_) return;
  piece.state = State::kBusy;
  lock_.unlock();
  ibv_mr* const mr = device_.library().register_memory(device_.domain(), piece.at, piece.bytes, IBV_ACCESS_LOCAL_WRITE);
  const int error = errno;
  if (mr == nullptr) {
    log(LogLevel::kWarn, "net",
        "cannot register {} KiB of the object cache for RDMA: {}; large objects are copied once more from now on",
        piece.bytes >> 10, strerrordesc_np(error));
  }
  lock_.lock();
  refused_ = mr == nullptr;
  piece.state = mr == nullptr ? State::kLent : State::kRegistered;
  piece.mr = mr;
  piece.used_ns = now_ns();
  if (mr != nullptr) registered_bytes_ += piece.bytes;
}

}  // namespace dsm::net::verbs
