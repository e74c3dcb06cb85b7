#include "bench/micro/swap_peer.h"

#include <fmt/core.h>
#include <sys/swap.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace dsm::bench {
namespace {

namespace fs = std::filesystem;

constexpr const char* kDevice = "/dev/zram0";
const fs::path kSettings = "/sys/block/zram0";

bool put(const fs::path& file, const std::string& text) {
  std::ofstream out(file);
  out << text << std::flush;
  return out.good();
}

std::uint64_t number_in(const fs::path& file) {
  std::uint64_t number = 0;
  std::ifstream(file) >> number;
  return number;
}

// The memory controller's folder for groups of our own, in the old hierarchy or the new one.
fs::path controller() {
  if (fs::exists("/sys/fs/cgroup/memory/memory.limit_in_bytes")) return "/sys/fs/cgroup/memory";
  std::ifstream file("/sys/fs/cgroup/cgroup.controllers");
  for (std::string word; file >> word;) {
    if (word == "memory") return "/sys/fs/cgroup";
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<SwapPeer>> SwapPeer::set_up(std::uint64_t swap_bytes) {
  const fs::path groups = controller();
  if (groups.empty()) return fail(Errc::kNoSupport, "no memory controller of cgroups here");
  if (!fs::exists(kSettings)) return fail(Errc::kNoSupport, "no zram here");
  if (number_in(kSettings / "disksize") != 0) return fail(Errc::kNoSupport, "/dev/zram0 is in use");
  std::unique_ptr<SwapPeer> peer(new SwapPeer);
  const bool lz4 = put(kSettings / "comp_algorithm", "lz4");
  peer->sized_ = put(kSettings / "disksize", std::to_string(swap_bytes));
  if (!peer->sized_) return fail(Errc::kNoSupport, "cannot size /dev/zram0 (root?)");
  if (std::system(fmt::format("mkswap {} > /dev/null", kDevice).c_str()) != 0) {
    return fail(Errc::kSystem, "mkswap failed");
  }
  if (::swapon(kDevice, 0) != 0) return fail(Errc::kSystem, "swapon failed", errno);
  peer->swapping_ = true;
  const fs::path group = groups / fmt::format("dsm-bench-{}", ::getpid());
  std::error_code error;
  if (!fs::create_directory(group, error)) return fail(Errc::kSystem, "cannot make a cgroup", error.value());
  peer->group_ = group;
  peer->name_ = fmt::format("swap on zram ({})", lz4 ? "lz4" : "its default compression");
  return peer;
}

SwapPeer::~SwapPeer() {
  if (!group_.empty()) ::rmdir(group_.c_str());
  if (swapping_) ::swapoff(kDevice);
  if (sized_) put(kSettings / "reset", "1");
}

bool SwapPeer::bound_this_process(std::uint64_t bytes) const {
  const fs::path group = group_;
  const bool old = fs::exists(group / "memory.limit_in_bytes");
  return put(group / (old ? "memory.limit_in_bytes" : "memory.max"), std::to_string(bytes)) &&
         put(group / "cgroup.procs", std::to_string(::getpid()));
}

}  // namespace dsm::bench
