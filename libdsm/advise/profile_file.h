// Reads a job's profile (insight/profile.h).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "advise/classify.h"
#include "base/geometry.h"
#include "base/result.h"
#include "insight/profile.h"

namespace dsm::advise {

class ProfileFile {
 public:
  // What is wrong is in the error; the file may be of a job that runs still, or was killed.
  static Result<std::unique_ptr<ProfileFile>> open(const std::string& name);
  ~ProfileFile();
  ProfileFile(const ProfileFile&) = delete;
  ProfileFile& operator=(const ProfileFile&) = delete;

  const insight::FileHead& head() const { return *reinterpret_cast<const insight::FileHead*>(bytes_); }
  const insight::NodePart& part(unsigned node) const;
  unsigned nodes() const { return head().nodes; }
  Geometry geometry() const;
  bool joined(unsigned node) const { return part(node).pid != 0; }
  // From the first node's start to the last one's end, or to the last that was recorded.
  std::int64_t begin_ns() const;
  std::int64_t end_ns() const;

  std::size_t samples(unsigned node) const;
  std::vector<PageUse> pages() const;  // in the order of their numbers

 private:
  ProfileFile(const std::byte* bytes, std::size_t size) : bytes_(bytes), size_(size) {}
  const std::byte* bytes_;
  std::size_t size_;
};

}  // namespace dsm::advise
