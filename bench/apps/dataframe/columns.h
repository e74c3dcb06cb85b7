// The columns in global memory, and the parts of groups that workers hand to each other, once for each way of sharing
// memory. Column i is in chunks in the memory of node i mod n.
//
//   view<C>(row)                   column C from `row` to the end of its chunk; good as long as the view
//   put(worker, part, records)     what `worker` has gathered for the worker `part`, as pieces
//   get<Record>(worker, part, i)   piece i of that, after a barrier; empty after the last
//   clear(worker)                  everybody has read what `worker` has put
#pragma once

#include <dsm/hints.h>

#include <array>
#include <cstdlib>
#include <span>
#include <vector>

#include "bench/apps/dataframe/queries.h"
#include "bench/apps/frame/job.h"

namespace app::frame {

struct Chunks {
  std::uint64_t rows;   // of the table
  std::uint64_t bytes;  // of a chunk
  std::uint64_t per_chunk(std::size_t element) const { return bytes / element; }
  std::uint64_t count(std::size_t element) const { return (rows + per_chunk(element) - 1) / per_chunk(element); }
  std::uint64_t length(std::size_t element, std::uint64_t chunk) const {
    return std::min(rows - chunk * per_chunk(element), per_chunk(element));
  }
  // All columns of so many rows lie in one chunk each.
  std::uint64_t step() const { return per_chunk(sizeof(LongText)); }
};

template <typename T, typename Borrowed = T>
struct View {
  const T* at = nullptr;
  std::size_t count = 0;
  dsm::shared_ref<Borrowed[]> borrowed{};  // not in native and page mode
};

// What one worker hands to another is so many objects at most, each as large as objects can be.
constexpr std::size_t kPieces = 16;
constexpr std::size_t kPieceBytes = std::size_t{64} << 20;

// put_piece(i, records) for what belongs into each piece.
template <typename Record, typename Put>
void in_pieces(const Job& job, std::span<const Record> records, Put put_piece) {
  constexpr std::size_t kEach = kPieceBytes / sizeof(Record);
  if (records.size() > kPieces * kEach) {
    job.die("a worker's groups are more than 16 objects of 64 MiB. Take fewer rows or more threads.");
  }
  for (std::size_t i = 0; i * kEach < records.size(); ++i) {
    put_piece(i, records.subspan(i * kEach, std::min(kEach, records.size() - i * kEach)));
  }
}

// f(column) for all of them.
template <typename F>
void for_columns(F f) {
  [&]<unsigned... C>(std::integer_sequence<unsigned, C...>) { (f(std::integral_constant<unsigned, C>{}), ...); }
  (std::make_integer_sequence<unsigned, kColumns>{});
}

template <unsigned C>
void fill(const Table& table, const Chunks& chunks, std::uint64_t chunk, TypeOf<C>* to) {
  const std::uint64_t first = chunk * chunks.per_chunk(sizeof(TypeOf<C>));
  for (std::uint64_t i = 0; i < chunks.length(sizeof(TypeOf<C>), chunk); ++i) to[i] = table.value<C>(first + i);
}

// Native, page and hinted mode: chunks and parts are plain blocks.
class PlainFrame {
 public:
  PlainFrame(Job& job, const Table& table, std::uint64_t chunk_bytes)
      : job_(job), chunks_{table.rows, chunk_bytes}, parts_(job.workers()) {
    for_columns([&]<unsigned C>(std::integral_constant<unsigned, C>) {
      const std::uint64_t count = chunks_.count(sizeof(TypeOf<C>));
      columns_[C] = job.shared<void*>(count);
      if (!job.is_own(C % job.nodes())) return;
      for (std::uint64_t i = 0; i < count; ++i) {
        auto* const chunk = job.pages<TypeOf<C>>(chunks_.length(sizeof(TypeOf<C>), i));
        fill<C>(table, chunks_, i, chunk);
        columns_[C][i] = chunk;
      }
    });
    for (Pieces*& pieces : parts_) pieces = job.shared<Pieces>(job.workers());
    job.sync_nodes();
  }
  std::uint64_t step() const { return chunks_.step(); }

  template <unsigned C>
  View<TypeOf<C>> view(std::uint64_t row) {
    const std::span<const TypeOf<C>> chunk = this->chunk<C>(row);
    if (!job_.native()) dsm::prefetch(chunk.data(), chunk.size_bytes());
    return {&chunk[row % chunks_.per_chunk(sizeof(TypeOf<C>))], 0, {}};
  }
  template <typename Record>
  void put(unsigned worker, unsigned part, std::span<const Record> records) {
    in_pieces(job_, records, [&](std::size_t piece, std::span<const Record> some) {
      Record* const to = make(parts_[worker][part][piece], some);
      std::memcpy(to, some.data(), some.size_bytes());
      if (!job_.native()) dsm::release(to, some.size_bytes());
    });
  }
  template <typename Record>
  View<Record> get(unsigned worker, unsigned part, std::size_t piece) {
    const Slot slot = parts_[worker][part][piece];
    if (!job_.native() && slot.count != 0) dsm::prefetch(slot.block, slot.count * sizeof(Record));
    return {static_cast<const Record*>(slot.block), slot.count, {}};
  }
  void clear(unsigned worker) {
    for (unsigned part = 0; part < job_.workers(); ++part) {
      for (Slot& slot : parts_[worker][part]) {
        if (slot.count == 0) break;
        job_.native() ? std::free(slot.block) : dsm::free(slot.block);
        slot = {};
      }
    }
  }

 protected:
  struct Slot {
    void* block;
    std::size_t count;
  };
  using Pieces = std::array<Slot, kPieces>;

  template <unsigned C>
  std::span<const TypeOf<C>> chunk(std::uint64_t row) const {
    const std::uint64_t number = row / chunks_.per_chunk(sizeof(TypeOf<C>));
    return {static_cast<const TypeOf<C>*>(columns_[C][number]), chunks_.length(sizeof(TypeOf<C>), number)};
  }
  template <typename Record>
  Record* make(Slot& slot, std::span<const Record> records) {
    const std::size_t bytes = whole_pages(records.size_bytes());
    void* const block = job_.native() ? std::aligned_alloc(kPageBytes, bytes) : dsm::alloc(bytes, kPageBytes);
    if (block == nullptr) job_.die("memory is used up. Take fewer rows.");
    slot = {block, records.size()};
    return static_cast<Record*>(block);
  }

  Job& job_;
  Chunks chunks_;
  std::array<void**, kColumns> columns_{};
  std::vector<Pieces*> parts_;  // by worker: its parts, on pages of their own
};

// L1: a chunk and a piece of a part are objects.
class HintedFrame : public PlainFrame {
 public:
  using PlainFrame::PlainFrame;

  template <unsigned C>
  View<TypeOf<C>> view(std::uint64_t row) {
    auto borrowed = dsm::borrow_shared(this->chunk<C>(row));
    const auto* const at = &borrowed[row % chunks_.per_chunk(sizeof(TypeOf<C>))];
    return {at, 0, std::move(borrowed)};
  }
  template <typename Record>
  void put(unsigned worker, unsigned part, std::span<const Record> records) {
    in_pieces(job_, records, [&](std::size_t piece, std::span<const Record> some) {
      Record* const to = make(parts_[worker][part][piece], some);
      std::memcpy(dsm::borrow_mut(std::span<Record>(to, some.size())).get(), some.data(), some.size_bytes());
    });
  }
  template <typename Record>
  View<Record> get(unsigned worker, unsigned part, std::size_t piece) {
    const Slot slot = parts_[worker][part][piece];
    if (slot.count == 0) return {};
    auto borrowed = dsm::borrow_shared(std::span<const Record>(static_cast<const Record*>(slot.block), slot.count));
    const auto* const at = borrowed.get();
    return {at, slot.count, std::move(borrowed)};
  }
};

// L2: a chunk has an owner at its node, a piece one that whoever adds it up borrows.
class OwnedFrame {
 public:
  OwnedFrame(Job& job, const Table& table, std::uint64_t chunk_bytes)
      : job_(job), chunks_{table.rows, chunk_bytes}, parts_(job.workers()) {
    for_columns([&]<unsigned C>(std::integral_constant<unsigned, C>) {
      const std::uint64_t count = chunks_.count(sizeof(TypeOf<C>));
      auto* const owners = job.shared<dsm::own_ptr<TypeOf<C>[]>>(count, dsm::on_node(C % job.nodes()));
      columns_[C] = owners;
      for (std::uint64_t i = 0; job.is_own(C % job.nodes()) && i < count; ++i) {
        owners[i] = dsm::make_owned<TypeOf<C>[]>(chunks_.length(sizeof(TypeOf<C>), i));
        if (!owners[i]) job.die("global memory is used up. Take fewer rows or a larger heap.");
        fill<C>(table, chunks_, i, dsm::borrow_mut(owners[i]).get());
      }
    });
    for (Pieces*& pieces : parts_) pieces = job.shared<Pieces>(job.workers());
    job.sync_nodes();
  }
  std::uint64_t step() const { return chunks_.step(); }

  template <unsigned C>
  View<TypeOf<C>> view(std::uint64_t row) {
    const std::uint64_t in_chunk = chunks_.per_chunk(sizeof(TypeOf<C>));
    auto borrowed = dsm::borrow_shared(static_cast<const dsm::own_ptr<TypeOf<C>[]>*>(columns_[C])[row / in_chunk]);
    const auto* const at = &borrowed[row % in_chunk];
    return {at, 0, std::move(borrowed)};
  }
  template <typename Record>
  void put(unsigned worker, unsigned part, std::span<const Record> records) {
    in_pieces(job_, records, [&](std::size_t piece, std::span<const Record> some) {
      Piece& to = parts_[worker][part][piece];
      to = dsm::make_owned_for_overwrite<std::uint64_t[]>(some.size_bytes() / sizeof(std::uint64_t));
      if (!to) job_.die("global memory is used up. Take fewer rows or a larger heap.");
      std::memcpy(dsm::borrow_mut(to).get(), some.data(), some.size_bytes());
    });
  }
  template <typename Record>
  View<Record, std::uint64_t> get(unsigned worker, unsigned part, std::size_t piece) {
    const Piece& from = parts_[worker][part][piece];
    if (!from) return {};
    auto borrowed = dsm::borrow_shared(from);
    const auto* const at = reinterpret_cast<const Record*>(borrowed.get());
    return {at, borrowed.size() * sizeof(std::uint64_t) / sizeof(Record), std::move(borrowed)};
  }
  void clear(unsigned worker) {
    for (unsigned part = 0; part < job_.workers(); ++part) {
      for (Piece& piece : parts_[worker][part]) piece.reset();
    }
  }

 private:
  using Piece = dsm::own_ptr<std::uint64_t[]>;  // a record is whole words
  using Pieces = std::array<Piece, kPieces>;

  Job& job_;
  Chunks chunks_;
  std::array<void*, kColumns> columns_{};  // of each its owners
  std::vector<Pieces*> parts_;
};

}  // namespace app::frame
