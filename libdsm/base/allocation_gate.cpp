#include "base/allocation_gate.h"

namespace dsm {

[[gnu::tls_model("initial-exec")]] constinit thread_local Allocations allocations = Allocations::kUnbound;
constinit Allocations bound_allocations = Allocations::kDirect;

}  // namespace dsm
