#include "hosts/job_key.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sodium.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>

#include "base/check.h"
#include "cluster/unique_fd.h"

namespace dsm::hosts {

namespace {

constexpr std::size_t kMostBytes = 4096;

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
  const ssize_t got = ::read(fd.get(), bytes.data(), bytes.size());
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
