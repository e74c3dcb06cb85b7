// Where a call stands in the program, for diagnostics. As std::source_location, which clang has only from version 16
// on.
#pragma once

namespace dsm {

class source_location {
 public:
  // As a default argument: where the function is called.
  static constexpr source_location current(const char* file = __builtin_FILE(), unsigned line = __builtin_LINE()) {
    return source_location(file, line);
  }
  constexpr const char* file_name() const { return file_; }
  constexpr unsigned line() const { return line_; }

 private:
  constexpr source_location(const char* file, unsigned line) : file_(file), line_(line) {}

  const char* file_;
  unsigned line_;
};

}  // namespace dsm
