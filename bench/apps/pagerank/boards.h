// How a worker of app_pagerank reaches the parts' boards, once for each way of sharing memory.
//
//   read(turn)      by part: its board number `turn`, to be read until done()
//   write(turn)     the worker's own, to be written until done()
//   done(turn)      board `turn` has been read, the other one written: before the barrier of an iteration
#pragma once

#include <dsm/hints.h>

#include <barrier>
#include <span>
#include <vector>

#include "bench/apps/frame/job.h"
#include "bench/apps/pagerank/placed.h"

namespace app {

// Native and page mode. Page mode fetches whole boards ahead and gives back at once what others need.
class PlainBoards {
 public:
  struct Ready {};  // what all workers of a node share
  static Ready prepare(Job&, const Placed&) { return {}; }

  PlainBoards(Job& job, const Placed& placed, Ready&, const Worker& worker, std::barrier<>& node, bool hints)
      : job_(job), placed_(placed), worker_(worker), node_(node), hints_(hints && !job.native()), at_(job.workers()) {}

  const double* const* read(unsigned turn) {
    for (unsigned part = 0; part < job_.workers(); ++part) at_[part] = placed_.parts[part].boards[turn];
    if (hints_) {
      for_parts([&](const Part& part, unsigned) { dsm::prefetch(part.boards[turn], bytes(part)); });
    }
    return at_.data();
  }
  double* write(unsigned turn) {
    const Part& own = placed_.parts[worker_.index];
    if (hints_) dsm::prefetch(own.boards[turn], bytes(own), dsm::access::write);
    return own.boards[turn];
  }
  void done(unsigned turn) {
    if (!hints_) return;
    node_.arrive_and_wait();
    for_parts([&](const Part& part, unsigned worker) {
      const bool own = worker / job_.threads() == job_.node();
      dsm::release(part.boards[own ? 1 - turn : turn], bytes(part));
    });
  }

 private:
  static std::size_t bytes(const Part& part) { return board_doubles(part) * sizeof(double); }
  // The parts that this worker cares for: its node's threads share them out, starting behind their own node so that not
  // all nodes ask the same one at once.
  template <typename Hint>
  void for_parts(Hint hint) const {
    for (unsigned i = worker_.thread; i < job_.workers(); i += job_.threads()) {
      const unsigned worker = (job_.first_worker() + i) % job_.workers();
      hint(placed_.parts[worker], worker);
    }
  }

  Job& job_;
  const Placed& placed_;
  Worker worker_;
  std::barrier<>& node_;
  bool hints_;
  std::vector<const double*> at_;
};

// L1: a board is an object.
class HintedBoards {
 public:
  struct Ready {};
  static Ready prepare(Job&, const Placed&) { return {}; }

  HintedBoards(Job& job, const Placed& placed, Ready&, const Worker& worker, std::barrier<>&, bool)
      : placed_(placed), own_(worker.index), read_(job.workers()), at_(job.workers()) {}
  const double* const* read(unsigned turn) {
    for (std::size_t i = 0; i < read_.size(); ++i) {
      const std::size_t part = (own_ + i) % read_.size();
      read_[part] = dsm::borrow_shared(std::span<const double>(board(part, turn)));
      at_[part] = read_[part].get();
    }
    return at_.data();
  }
  double* write(unsigned turn) {
    written_ = dsm::borrow_mut(board(own_, turn));
    return written_.get();
  }
  void done(unsigned) {
    written_.release();
    for (auto& one : read_) one.release();
  }

 private:
  std::span<double> board(std::size_t part, unsigned turn) const {
    return {placed_.parts[part].boards[turn], board_doubles(placed_.parts[part])};
  }

  const Placed& placed_;
  std::size_t own_;
  std::vector<dsm::shared_ref<double[]>> read_;
  std::vector<const double*> at_;
  dsm::mut_ref<double[]> written_;
};

// L2: a board has an owner, on a page of its worker's: who has read it before sees by the owner that it is new.
class OwnedBoards {
 public:
  using Pair = std::array<dsm::own_ptr<double[]>, 2>;
  using Ready = std::vector<Pair*>;
  static Ready prepare(Job& job, const Placed& placed) {
    Ready all;
    for (unsigned worker = 0; worker < job.workers(); ++worker) {
      const unsigned node = worker / job.threads();
      all.push_back(job.shared<Pair>(1, dsm::on_node(node)));
      for (unsigned turn = 0; job.is_own(node) && turn < 2; ++turn) {
        (*all[worker])[turn] = dsm::make_owned<double[]>(board_doubles(placed.parts[worker]));
        if (!(*all[worker])[turn]) job.die("global memory is used up. Take a smaller graph or a larger heap.");
      }
    }
    job.sync_nodes();
    return all;
  }

  OwnedBoards(Job& job, const Placed&, Ready& owners, const Worker& worker, std::barrier<>&, bool)
      : owners_(owners), own_(worker.index), read_(job.workers()), at_(job.workers()) {}
  const double* const* read(unsigned turn) {
    for (std::size_t i = 0; i < read_.size(); ++i) {
      const std::size_t part = (own_ + i) % read_.size();
      read_[part] = dsm::borrow_shared((*owners_[part])[turn]);
      at_[part] = read_[part].get();
    }
    return at_.data();
  }
  double* write(unsigned turn) {
    written_ = dsm::borrow_mut((*owners_[own_])[turn]);
    return written_.get();
  }
  void done(unsigned) {
    written_.release();
    for (auto& one : read_) one.release();
  }

 private:
  Ready& owners_;
  std::size_t own_;
  std::vector<dsm::shared_ref<double[]>> read_;
  std::vector<const double*> at_;
  dsm::mut_ref<double[]> written_;
};

}  // namespace app
