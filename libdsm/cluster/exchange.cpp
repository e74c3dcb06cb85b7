#include "cluster/exchange.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "base/check.h"
#include "base/clock.h"
#include "cluster/write_all.h"

namespace dsm::cluster {

namespace {

struct Slot {
  std::uint32_t bytes;
  std::uint32_t zero;
  std::byte data[kMaxExchangeBytes];
};
static_assert(sizeof(Slot) == 8 + kMaxExchangeBytes);

}  // namespace

std::string Exchange::give(unsigned node, const Contribution& contribution) {
  if (contribution.bytes > kMaxExchangeBytes) return fmt::format("it says that it has {} bytes", contribution.bytes);
  if (contribution.round != round_) return fmt::format("it is for round {}, not {}", contribution.round, round_);
  if (has(node)) return "the node has given already";
  shares_[node].emplace(contribution.data, contribution.data + contribution.bytes);
  if (opened_ns_ == 0) opened_ns_ = now_ns();
  return "";
}

void Exchange::give_all(Shares shares) {
  DSM_CHECK(shares.size() == shares_.size());
  for (std::size_t node = 0; node < shares.size(); ++node) shares_[node] = std::move(shares[node]);
}

bool Exchange::complete() const {
  return std::all_of(shares_.begin(), shares_.end(), [](const auto& share) { return share.has_value(); });
}

Result<UniqueFd> Exchange::finish() {
  DSM_CHECK(complete());
  UniqueFd fd(::memfd_create("dsm-exchange", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd) return fail(Errc::kNoSupport, "cannot make shared memory (memfd_create)", errno);
  for (auto& share : shares_) {
    Slot slot{};
    slot.bytes = static_cast<std::uint32_t>(share->size());
    std::copy(share->begin(), share->end(), slot.data);
    if (!write_all(fd.get(), &slot, sizeof slot))
      return fail(Errc::kNoMemory, "no memory for what nodes exchange", errno);
    share.reset();
  }
  if (::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return fail(Errc::kNoSupport, "cannot seal shared memory", errno);
  }
  ++round_;
  opened_ns_ = 0;
  return fd;
}

Result<Shares> read_shares(int fd, unsigned nodes) {
  struct stat status {};
  if (::fstat(fd, &status) != 0 || !S_ISREG(status.st_mode) ||
      static_cast<std::uint64_t>(status.st_size) != nodes * sizeof(Slot)) {
    return fail(Errc::kProtocol, "what nodes exchanged has another size than it must");
  }
  Shares shares;
  for (unsigned node = 0; node < nodes; ++node) {
    Slot slot;
    if (::pread(fd, &slot, sizeof slot, static_cast<off_t>(node * sizeof slot)) != static_cast<ssize_t>(sizeof slot)) {
      return fail(Errc::kSystem, "cannot read what nodes exchanged", errno);
    }
    if (slot.bytes > kMaxExchangeBytes) return fail(Errc::kProtocol, "what nodes exchanged makes no sense");
    shares.emplace_back(slot.data, slot.data + slot.bytes);
  }
  return shares;
}

}  // namespace dsm::cluster
