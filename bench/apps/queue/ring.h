// A bounded queue for many producers and many consumers without locks (Dmitry Vyukov's), for any memory that
// std::atomic works on: nothing in it knows of nodes.
//
// 1. cell.turn == position: the cell is free for the producer of that position.
// 2. cell.turn == position + 1: it holds the item for the consumer of that position.
// 3. The two positions and the cells are on pages of their own; a position only grows.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace app {

class Ring {
 public:
  struct alignas(64) Cell {
    std::atomic<std::uint64_t> turn;
    std::uint64_t item;
  };

  // `cells`: a power of two of them, in the same memory as the ring.
  Ring(Cell* cells, std::size_t count) : cells_(cells), mask_(count - 1) {
    for (std::size_t i = 0; i < count; ++i) cells[i].turn.store(i, std::memory_order_relaxed);
  }

  // False: the queue is full.
  bool try_push(std::uint64_t item) {
    std::uint64_t position = tail_.load(std::memory_order_relaxed);
    for (;;) {
      Cell& cell = cells_[position & mask_];
      const auto ahead = static_cast<std::int64_t>(cell.turn.load(std::memory_order_acquire) - position);
      if (ahead < 0) return false;
      if (ahead > 0) {
        position = tail_.load(std::memory_order_relaxed);
      } else if (tail_.compare_exchange_weak(position, position + 1, std::memory_order_relaxed)) {
        cell.item = item;
        cell.turn.store(position + 1, std::memory_order_release);
        return true;
      }
    }
  }

  // False: the queue is empty.
  bool try_pop(std::uint64_t& item) {
    std::uint64_t position = head_.load(std::memory_order_relaxed);
    for (;;) {
      Cell& cell = cells_[position & mask_];
      const auto ahead = static_cast<std::int64_t>(cell.turn.load(std::memory_order_acquire) - (position + 1));
      if (ahead < 0) return false;
      if (ahead > 0) {
        position = head_.load(std::memory_order_relaxed);
      } else if (head_.compare_exchange_weak(position, position + 1, std::memory_order_relaxed)) {
        item = cell.item;
        cell.turn.store(position + mask_ + 1, std::memory_order_release);
        return true;
      }
    }
  }

 private:
  Cell* const cells_;
  const std::uint64_t mask_;
  alignas(4096) std::atomic<std::uint64_t> tail_{0};
  alignas(4096) std::atomic<std::uint64_t> head_{0};
};

}  // namespace app
