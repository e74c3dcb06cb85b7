// How log, check and trace write: whole lines, one write(2) each, behind one prefix that names the node.
// Safe in signal context: no allocation, errno is left alone.
#pragma once

#include <fmt/core.h>

#include <string_view>

namespace dsm {

inline constexpr std::size_t kLineBytes = 1024;

void set_line_node(int node);  // node < 0: none known yet

// A line under construction. What does not fit is cut off, and "..." says so.
class Line {
 public:
  Line();  // starts with "dsm[2] ", or "dsm " while no node is known

  template <typename... Args>
  Line& add(fmt::format_string<Args...> format, Args&&... args) {
    auto end = fmt::format_to_n(text_ + size_, kLineBytes - size_, format, std::forward<Args>(args)...);
    advance(end.size);
    return *this;
  }
  Line& text(std::string_view text);
  void write_to(int fd);

 private:
  void advance(std::size_t wanted);

  std::size_t size_ = 0;
  bool cut_ = false;
  char text_[kLineBytes + 4];  // the last bytes are for "...\n"
};

}  // namespace dsm
