// A first-in first-out queue that keeps its memory.
#pragma once

#include <cstddef>
#include <vector>

namespace dsm::sim {

template <typename T>
class Fifo {
 public:
  bool empty() const { return head_ == items_.size(); }
  std::size_t size() const { return items_.size() - head_; }
  const T& front() const { return items_[head_]; }
  T& operator[](std::size_t index) { return items_[head_ + index]; }
  void clear() {
    items_.clear();
    head_ = 0;
  }
  void push(const T& item) { items_.push_back(item); }
  T pop() {
    T item = items_[head_++];
    if (empty()) {
      items_.clear();
      head_ = 0;
    }
    return item;
  }

 private:
  std::vector<T> items_;
  std::size_t head_ = 0;
};

}  // namespace dsm::sim
