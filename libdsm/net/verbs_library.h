// libibverbs, loaded when a transport is made and not before: programs and machines without RDMA need no library of it.
// What moves data (ibv_post_send, ibv_poll_cq, ...) are calls through the device's table and need no symbol.
#pragma once

#include <infiniband/verbs.h>

#include "base/result.h"

namespace dsm::net::verbs {

// X(member, symbol)
#define DSM_VERBS_SYMBOLS(X)                   \
  X(fork_init, ibv_fork_init)                  \
  X(get_device_list, ibv_get_device_list)      \
  X(free_device_list, ibv_free_device_list)    \
  X(get_device_name, ibv_get_device_name)      \
  X(open_device, ibv_open_device)              \
  X(close_device, ibv_close_device)            \
  X(query_device, ibv_query_device)            \
  X(query_gid_entry, _ibv_query_gid_ex)        \
  X(alloc_pd, ibv_alloc_pd)                    \
  X(dealloc_pd, ibv_dealloc_pd)                \
  X(register_memory, ibv_reg_mr)               \
  X(deregister_memory, ibv_dereg_mr)           \
  X(create_channel, ibv_create_comp_channel)   \
  X(destroy_channel, ibv_destroy_comp_channel) \
  X(create_cq, ibv_create_cq)                  \
  X(destroy_cq, ibv_destroy_cq)                \
  X(get_cq_event, ibv_get_cq_event)            \
  X(ack_cq_events, ibv_ack_cq_events)          \
  X(create_srq, ibv_create_srq)                \
  X(destroy_srq, ibv_destroy_srq)              \
  X(create_qp, ibv_create_qp)                  \
  X(modify_qp, ibv_modify_qp)                  \
  X(destroy_qp, ibv_destroy_qp)                \
  X(get_async_event, ibv_get_async_event)      \
  X(ack_async_event, ibv_ack_async_event)      \
  X(event_type_text, ibv_event_type_str)

// The library's ibv_reg_mr is a macro over this.
#undef ibv_reg_mr

struct Library {
#define DSM_MEMBER(member, symbol) decltype(&::symbol) member;
  DSM_VERBS_SYMBOLS(DSM_MEMBER)
#undef DSM_MEMBER
};

Result<const Library*> load_library();

// Why an operation failed, and what to look at: "no answer ...: the node has died or the network is cut".
const char* status_text(ibv_wc_status status);

}  // namespace dsm::net::verbs
