#include "bench/micro/bare_chain.h"

#include <fmt/core.h>

#include <array>
#include <cstdio>
#include <cstdlib>

#include "net/verbs_queues.h"

namespace dsm::bench {
namespace {

using namespace net::verbs;

constexpr unsigned kMost = 8;

template <typename T>
T need(Result<T> made) {
  if (made) return std::move(*made);
  fmt::print(stderr, "bench_verbs: {}\n", describe(made.error()));
  std::exit(69);
}

}  // namespace

struct BareChain::Parts {
  Device device;
  CompletionQueue completions;
  SharedReceives receives;
  Buffer from, to;
  QueuePair pair;
};

BareChain::BareChain(const std::string& device, std::size_t most_bytes) {
  net::VerbsParams params;
  params.device = device;
  parts_.reset(new Parts{need(Device::open(params)), {}, {}, {}, {}, {}});
  Parts& p = *parts_;
  p.completions = need(make_cq(p.device, kMost, nullptr));
  p.receives = need(make_srq(p.device, 1));
  p.from = need(Buffer::make(p.device, most_bytes));
  p.to = need(Buffer::make(p.device, most_bytes));
  unsigned inline_bytes = 0;
  p.pair =
      need(make_qp(p.device, {p.completions.get(), p.completions.get(), p.receives.get(), kMost, 0}, inline_bytes));
  if (auto done = connect(p.device, p.pair.get(), address_of(p.device), p.pair->qp_num, 2000); !done) std::exit(69);
}

BareChain::~BareChain() = default;

void BareChain::run(std::span<const std::uint32_t> steps) {
  Parts& p = *parts_;
  std::array<ibv_sge, kMost> pieces{};
  std::array<ibv_send_wr, kMost> requests{};
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const bool adds = steps[i] == kFetchAdd;
    const auto from = reinterpret_cast<std::uint64_t>(p.from.data());
    pieces[i] = {reinterpret_cast<std::uint64_t>(p.to.data()), adds ? 8 : steps[i], p.to.lkey()};
    requests[i].opcode = adds ? IBV_WR_ATOMIC_FETCH_AND_ADD : IBV_WR_RDMA_READ;
    requests[i].sg_list = &pieces[i];
    requests[i].num_sge = 1;
    if (adds) {
      requests[i].wr.atomic.remote_addr = from;
      requests[i].wr.atomic.rkey = p.from.rkey();
    } else {
      requests[i].wr.rdma.remote_addr = from;
      requests[i].wr.rdma.rkey = p.from.rkey();
    }
    const bool last = i + 1 == steps.size();
    requests[i].next = last ? nullptr : &requests[i + 1];
    requests[i].send_flags = last ? IBV_SEND_SIGNALED : 0;
  }
  ibv_send_wr* refused = nullptr;
  if (ibv_post_send(p.pair.get(), requests.data(), &refused) != 0) std::abort();
  ibv_wc completion{};
  int found = 0;
  while ((found = ibv_poll_cq(p.completions.get(), 1, &completion)) == 0) {
  }
  if (found < 0 || completion.status != IBV_WC_SUCCESS) std::abort();
}

}  // namespace dsm::bench
