#include "hosts/job_key.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sodium.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>

#include "base/check.h"
#include "cluster/unique_fd.h"

namespace dsm::hosts {

namespace {

constexpr std::size_t kMostBytes = 4096;

// All there is, or as much as there is room for; -1: errno says why.
ssize_t read_whole(int fd, std::span<std::byte> to) {
  std::size_t done = 0;
  while (done < to.size()) {
    const ssize_t got = ::read(fd, to.data() + done, to.size() - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return -1;
    if (got == 0) break;
    done += static_cast<std::size_t>(got);
  }
  return static_cast<ssize_t>(done);
}

const unsigned char* bytes_of(std::span<const std::byte> part) {
  return reinterpret_cast<const unsigned char*>(part.data());
}

}  // namespace

tl::expected<JobKey, std::string> JobKey::read(const std::string& file) {
  const cluster::UniqueFd fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return tl::unexpected(fmt::format("cannot read the key file {}: {}", file, ::strerror(errno)));
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0 || !S_ISREG(status.st_mode)) {
    return tl::unexpected(fmt::format("the key file {} is no file", file));
  }
  if ((status.st_mode & 077) != 0) {
    return tl::unexpected(fmt::format("the key file {} can be read by others: chmod 600 {}", file, file));
  }
  std::vector<std::byte> bytes(kMostBytes + 1);
  const ssize_t got = read_whole(fd.get(), bytes);
  if (got < 0) return tl::unexpected(fmt::format("cannot read the key file {}: {}", file, ::strerror(errno)));
  if (got < static_cast<ssize_t>(kLeastBytes) || got > static_cast<ssize_t>(kMostBytes)) {
    return tl::unexpected(
        fmt::format("the key file {} must have {} to {} bytes; make one with (umask 077; head -c 32 "
                    "/dev/urandom >{}) and copy it to every host",
                    file, kLeastBytes, kMostBytes, file));
  }
  bytes.resize(static_cast<std::size_t>(got));
  if (::sodium_init() < 0) return tl::unexpected(std::string("libsodium finds no random numbers on this system"));
  return JobKey(std::move(bytes));
}

Tag JobKey::tag(std::initializer_list<std::span<const std::byte>> parts) const {
  static_assert(crypto_auth_hmacsha256_BYTES == sizeof(Tag));
  crypto_auth_hmacsha256_state state;
  ::crypto_auth_hmacsha256_init(&state, bytes_of(bytes_), bytes_.size());
  for (const auto part : parts) ::crypto_auth_hmacsha256_update(&state, bytes_of(part), part.size());
  Tag made;
  ::crypto_auth_hmacsha256_final(&state, reinterpret_cast<unsigned char*>(made.data()));
  return made;
}

bool same(const Tag& one, const Tag& other) { return ::sodium_memcmp(one.data(), other.data(), one.size()) == 0; }

Nonce make_nonce() {
  Nonce nonce;
  ::randombytes_buf(nonce.data(), nonce.size());
  return nonce;
}

}  // namespace dsm::hosts
