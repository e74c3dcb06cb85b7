// The transport's one thread. It registers units of this node's memory that other nodes ask for, and memory that was
// lent; and it says what the device reports by itself. It sleeps unless there is such work.
#include <arpa/inet.h>
#include <poll.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/allocation_gate.h"
#include "base/check.h"
#include "base/log.h"
#include "net/verbs_impl.h"

namespace dsm::net::verbs {

void VerbsTransport::attend() {
  const OwnAllocations own;
  ::prctl(PR_SET_NAME, "dsm-rdma");
  pollfd events[3] = {
      {attendant_fd_, POLLIN, 0}, {control_.channel->fd, POLLIN, 0}, {device_.context()->async_fd, POLLIN, 0}};
  for (;;) {
    if (::poll(events, 3, -1) < 0) continue;  // EINTR
    if (events[0].revents != 0) {
      std::uint64_t rings = 0;
      if (::read(attendant_fd_, &rings, sizeof rings) < 0) DSM_CHECK(errno == EAGAIN, "errno {}", errno);
      if (ending_.load()) return;
      lent_.attend();
    }
    if (events[1].revents != 0) take_requests();
    if (events[2].revents != 0) take_asynchronous();
  }
}

// Any thread, in signal context too.
void VerbsTransport::ring_attendant() {
  const std::uint64_t one = 1;
  const int saved_errno = errno;
  const ssize_t wrote = ::write(attendant_fd_, &one, sizeof one);
  errno = saved_errno;
  DSM_CHECK(wrote == sizeof one, "cannot ring the transport's thread");
}

void VerbsTransport::take_requests() {
  ibv_cq* queue = nullptr;
  void* context = nullptr;
  if (library_.get_cq_event(control_.channel.get(), &queue, &context) != 0) return;
  library_.ack_cq_events(queue, 1);
  ibv_req_notify_cq(queue, 0);
  for (ibv_wc completion{}; ibv_poll_cq(queue, 1, &completion) == 1;) {
    if (completion.status != IBV_WC_SUCCESS) continue;  // a connection has ended: who uses it finds out
    const auto slot = static_cast<std::uint32_t>(completion.wr_id);
    std::uint64_t unit = 0;
    std::memcpy(&unit, control_.slot(slot), sizeof unit);
    const MailWord word = unpack_mail(ntohl(completion.imm_data));
    const bool whole = (completion.wc_flags & IBV_WC_WITH_IMM) != 0 && completion.byte_len == sizeof unit &&
                       word.kind == MailKind::kRegister && word.from < nodes_;
    control_.post(slot);
    if (whole && unit < units_.count()) {
      own_->expose(units_.at(unit));
    } else {
      log(LogLevel::kError, "net", "something that is no request of ours came over RDMA: ignored");
    }
  }
}

void VerbsTransport::take_asynchronous() {
  ibv_async_event event{};
  if (library_.get_async_event(device_.context(), &event) != 0) return;
  switch (event.event_type) {
    case IBV_EVENT_QP_FATAL:
    case IBV_EVENT_QP_REQ_ERR:
    case IBV_EVENT_QP_ACCESS_ERR:
    case IBV_EVENT_CQ_ERR:
    case IBV_EVENT_SRQ_ERR:
    case IBV_EVENT_DEVICE_FATAL:
    case IBV_EVENT_PORT_ERR:
      log(LogLevel::kWarn, "net", "RDMA device {} reports: {}", device_.name(),
          library_.event_type_text(event.event_type));
      break;
    default:
      break;
  }
  library_.ack_async_event(&event);
}

}  // namespace dsm::net::verbs
