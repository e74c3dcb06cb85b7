#include "net/verbs_library.h"

#include <dlfcn.h>

#include "base/log.h"

namespace dsm::net::verbs {

Result<const Library*> load_library() {
  static Library library;
  static const bool loaded = [] {
    void* const handle = ::dlopen("libibverbs.so.1", RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) {
      log(LogLevel::kError, "net", "transport verbs needs libibverbs: {}", ::dlerror());
      return false;
    }
    bool whole = true;
    const auto find = [&](auto& member, const char* symbol) {
      member = reinterpret_cast<std::remove_reference_t<decltype(member)>>(::dlsym(handle, symbol));
      if (member != nullptr) return;
      log(LogLevel::kError, "net", "this libibverbs has no {}; transport verbs needs version 32 or later", symbol);
      whole = false;
    };
#define DSM_FIND(member, symbol) find(library.member, #symbol);
    DSM_VERBS_SYMBOLS(DSM_FIND)
#undef DSM_FIND
    // Kernels that copy pinned memory at fork make this a no-op. Before them it keeps what the device uses from
    // children; what this transport registers is shared memory in any case, which a fork does not copy.
    if (whole && library.fork_init() != 0) {
      log(LogLevel::kWarn, "net", "ibv_fork_init failed: a program that forks may lose messages");
    }
    return whole;
  }();
  if (!loaded) {
    return fail(Errc::kNoSupport, "transport verbs cannot run: install libibverbs1 and ibverbs-providers, or use shm");
  }
  return &library;
}

const char* status_text(ibv_wc_status status) {
  switch (status) {
    case IBV_WC_SUCCESS:
      return "success";
    case IBV_WC_RETRY_EXC_ERR:
      return "no answer after all retries: the node has died or the network to it is cut; look at its machine, cable "
             "and switch";
    case IBV_WC_RNR_RETRY_EXC_ERR:
      return "the node takes no messages any more: its process is broken or its machine is overloaded";
    case IBV_WC_REM_ACCESS_ERR:
      return "the node refused access to its memory: its process has ended, or it runs another libdsm";
    case IBV_WC_REM_INV_REQ_ERR:
      return "the node's device refused a request: start all nodes with the same libdsm";
    case IBV_WC_REM_OP_ERR:
      return "the node's device failed to execute a request; look at its kernel log (dmesg)";
    case IBV_WC_WR_FLUSH_ERR:
      return "the connection to the node is broken already";
    case IBV_WC_LOC_PROT_ERR:
    case IBV_WC_LOC_ACCESS_ERR:
      return "this node's device refused access to this node's own memory";
    case IBV_WC_LOC_LEN_ERR:
    case IBV_WC_LOC_QP_OP_ERR:
      return "this node's device could not execute a request; look at the kernel log (dmesg)";
    case IBV_WC_FATAL_ERR:
    case IBV_WC_RESP_TIMEOUT_ERR:
      return "the device failed; look at the kernel log (dmesg)";
    default:
      return "an error of the RDMA device or network; look at the kernel log (dmesg)";
  }
}

}  // namespace dsm::net::verbs
