// Frames over one TCP connection between the launchers of two hosts (frames.h). Never waits: what cannot be sent now is
// kept, and what has come in part is, too. Used by one thread.
//
// 1. A dead connection is noticed within kSilenceMs, also if the other host or the way to it is gone (the kernel asks).
// 2. A frame that is malformed, or whose tag is wrong, ends the channel: nothing after it is looked at.
#pragma once

#include <poll.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "cluster/unique_fd.h"
#include "hosts/frames.h"
#include "hosts/job_key.h"

namespace dsm::hosts {

inline constexpr int kSilenceMs = 5000;

enum class Side : std::uint8_t { kLeader, kFollower };

class Channel {
 public:
  enum class Got { kFrame, kNothing, kClosed, kNonsense, kOtherVersion, kOtherKey };
  struct Frame {
    FrameKind kind;
    bool tagged;  // by someone who has the key
    std::vector<std::byte> payload;

    // Nothing unless the payload has that size.
    template <typename Payload>
    const Payload* as() const {
      return payload.size() == sizeof(Payload) ? reinterpret_cast<const Payload*>(payload.data()) : nullptr;
    }
  };

  Channel(cluster::UniqueFd socket, const JobKey& key, Side side, std::string address);

  int fd() const { return socket_.get(); }
  const std::string& address() const { return address_; }  // of the other side, as text
  void challenge();                                        // the leader's first word
  // The follower's part of that: once both nonces are known: frames are tagged from here on, those that come must be.
  void begin_session(const Nonce& leaders, const Nonce& followers);
  void allow_large() { payload_max_ = kMaxPayload; }  // the other side has shown that it has the key

  // Why receive() says kClosed, in words that follow the host's name.
  const char* why_closed() const { return timed_out_ ? "does not answer any more" : "has closed its connection"; }

  void send(FrameKind kind, std::span<const std::byte> payload);
  template <typename Payload>
  void send(FrameKind kind, const Payload& payload) {
    send(kind, std::as_bytes(std::span(&payload, 1)));
  }
  bool flush();  // false if something is left to be sent
  // What to poll for: there may be something to receive, or room for what is left to be sent.
  short events() const { return static_cast<short>(out_.empty() ? POLLIN : POLLIN | POLLOUT); }
  Got receive(Frame& frame);

 private:
  Tag tag(Side from, std::uint64_t number, std::span<const std::byte> bytes) const;
  Got parse(Frame& frame);

  cluster::UniqueFd socket_;
  const JobKey* key_;
  Side side_;
  std::string address_;
  bool in_session_ = false;
  Nonce nonces_[2]{};
  std::uint64_t sent_ = 0;
  std::uint64_t received_ = 0;
  std::size_t payload_max_ = sizeof(Hello);
  std::vector<std::byte> out_;
  std::vector<std::byte> in_;
  bool closed_ = false;
  bool timed_out_ = false;
};

}  // namespace dsm::hosts
