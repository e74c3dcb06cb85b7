// Watches channels for the supervisor's event loop: one descriptor that is readable when one of them needs care.
#pragma once

#include <sys/epoll.h>

#include "cluster/unique_fd.h"
#include "hosts/channel.h"

namespace dsm::hosts {

class Lookout {
 public:
  explicit Lookout(cluster::UniqueFd events) : events_(std::move(events)) {}

  int fd() const { return events_.get(); }
  void add(const Channel& channel) { control(EPOLL_CTL_ADD, channel, EPOLLIN); }
  void want(const Channel& channel, bool also_write) {
    control(EPOLL_CTL_MOD, channel, also_write ? EPOLLIN | EPOLLOUT : EPOLLIN);
  }
  void drop(const Channel& channel) { control(EPOLL_CTL_DEL, channel, 0); }

 private:
  void control(int operation, const Channel& channel, std::uint32_t events) {
    epoll_event event{};
    event.events = events;
    event.data.fd = channel.fd();
    ::epoll_ctl(events_.get(), operation, channel.fd(), &event);
  }

  cluster::UniqueFd events_;
};

}  // namespace dsm::hosts
