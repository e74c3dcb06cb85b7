// One lock-free queue in global memory between the threads of all nodes: plain std::atomic, no call of libdsm. Checks
// that every item comes out exactly once, and that each consumer sees the items of one producer in order.
#include <fmt/core.h>

#include <algorithm>
#include <bit>
#include <queue>
#include <thread>
#include <vector>

#include "bench/apps/frame/job.h"
#include "bench/apps/frame/random.h"
#include "bench/apps/queue/ring.h"
#include "support/command_line.h"

namespace {

using app::Job;
using app::Ring;

struct Settings {
  std::uint64_t items = 5000;  // a producer
  std::uint64_t capacity = 1024;
};

// An item names its producer and its place in that producer's sequence.
constexpr unsigned kSequenceBits = 40;
constexpr std::uint64_t kEnd = ~std::uint64_t{0};
std::uint64_t item_of(unsigned producer, std::uint64_t i) { return (std::uint64_t{producer} << kSequenceBits) | i; }
unsigned producer_of(std::uint64_t item) { return static_cast<unsigned>(item >> kSequenceBits); }

// Waits a little and leaves the CPU to others: there may be more threads than CPUs.
template <typename Try>
void until(Try attempt) {
  while (!attempt()) std::this_thread::yield();
}

// There are as many producers as consumers. A producer ends with an end mark, a consumer at the first one it gets; the
// last mark in the queue is behind all items, so none is left over.
std::uint64_t produce(Ring& ring, unsigned producer, std::uint64_t items) {
  for (std::uint64_t i = 0; i < items; ++i) until([&] { return ring.try_push(item_of(producer, i)); });
  until([&] { return ring.try_push(kEnd); });
  return items;
}

std::uint64_t consume(Ring& ring, std::vector<std::uint64_t>& got) {
  for (;;) {
    std::uint64_t item = 0;
    until([&] { return ring.try_pop(item); });
    if (item == kEnd) return got.size();
    got.push_back(item);
  }
}

// What a consumer got, in global memory for node 0 to read.
struct Delivery {
  std::uint64_t* items;
  std::uint64_t count;
};

void deliver(Job& job, const std::vector<std::uint64_t>& got, Delivery& delivery) {
  delivery = {job.pages<std::uint64_t>(got.size()), got.size()};
  std::copy(got.begin(), got.end(), delivery.items);
}

// Order within one consumer: items of one producer only grow.
void check_order(Job& job, unsigned producers, unsigned consumer, const std::vector<std::uint64_t>& got) {
  std::vector<std::uint64_t> next(producers, 0);
  for (const std::uint64_t item : got) {
    const unsigned producer = producer_of(item);
    if (producer >= producers) return job.fail(fmt::format("consumer {} got {:x}, which nobody made.", consumer, item));
    if (item < next[producer]) {
      return job.fail(
          fmt::format("consumer {} got item {:x} of producer {} after a later one.", consumer, item, producer));
    }
    next[producer] = item + 1;
  }
}

// The same items through a plain queue in one thread.
std::vector<std::uint64_t> run_plainly(unsigned producers, std::uint64_t items) {
  std::queue<std::uint64_t> queue;
  std::vector<std::uint64_t> got;
  for (unsigned producer = 0; producer < producers; ++producer) {
    for (std::uint64_t i = 0; i < items; ++i) queue.push(item_of(producer, i));
    while (!queue.empty()) {
      got.push_back(queue.front());
      queue.pop();
    }
  }
  return got;
}

app::Report check(Job& job, const Settings& settings, unsigned pairs, const Delivery* deliveries) {
  std::vector<std::uint64_t> got;
  auto each = nlohmann::ordered_json::array();
  for (unsigned consumer = 0; consumer < pairs; ++consumer) {
    const Delivery& delivery = deliveries[consumer];
    got.insert(got.end(), delivery.items, delivery.items + delivery.count);
    each.push_back(delivery.count);
  }
  std::sort(got.begin(), got.end());
  app::Report report;
  const double start = app::now_seconds();
  const std::vector<std::uint64_t> expected = run_plainly(pairs, settings.items);
  report.reference_seconds = app::now_seconds() - start;
  const auto [wrong, right] = std::mismatch(got.begin(), got.end(), expected.begin(), expected.end());
  if (wrong != got.end() && (right == expected.end() || *wrong < *right)) {
    job.fail(fmt::format("item {:x} came out twice or was never put in.", *wrong));
  } else if (right != expected.end()) {
    job.fail(fmt::format("item {:x} never came out.", *right));
  }
  app::Checksum checksum;
  for (const std::uint64_t item : got) checksum.add(item);
  report.checksum = checksum.value();
  report.parameters = {{"items_per_producer", settings.items},
                       {"producers", pairs},
                       {"consumers", pairs},
                       {"capacity", settings.capacity}};
  report.results["items of each consumer"] = each;
  return report;
}

Ring* make_ring(Job& job, std::size_t capacity) {
  auto** root = job.shared<Ring*>(1);
  if (job.node() == 0) *root = ::new (job.pages<Ring>(1)) Ring{job.pages<Ring::Cell>(capacity), capacity};
  job.sync_nodes();
  return *root;
}

}  // namespace

int main(int argc, char** argv) {
  dsm::support::CommandLine cli{
      "A lock-free queue in global memory between all nodes' threads; every item must come out exactly once."};
  app::Options options;
  Settings settings;
  cli.option("-n,--items", settings.items, "items of each producer")
      .range(std::uint64_t{1}, std::uint64_t{1} << 32)
      .show_default();
  cli.option("--capacity", settings.capacity, "cells of the queue; a power of two")
      .range(std::uint64_t{2}, std::uint64_t{1} << 24)
      .power_of_two()
      .show_default();
  app::add_options(cli, options);
  cli.describe("--threads", "producers of each node, and as many consumers");
  if (const auto status = cli.parse(argc, argv)) return *status;

  // Worker w is both the threads of producer w and of consumer w.
  Job job{"app_queue", options};
  Ring& ring = *make_ring(job, settings.capacity);
  auto* deliveries = job.shared<Delivery>(job.workers());
  job.sync_nodes();
  std::vector<std::vector<std::uint64_t>> got(job.threads());
  job.measure("items", [&](const app::Worker& worker) {
    std::thread producer{[&] { produce(ring, worker.index, settings.items); }};
    const std::uint64_t count = consume(ring, got[worker.thread]);
    producer.join();
    return count;
  });
  for (unsigned thread = 0; thread < job.threads(); ++thread) {
    const unsigned consumer = job.node() * job.threads() + thread;
    check_order(job, job.workers(), consumer, got[thread]);
    deliver(job, got[thread], deliveries[consumer]);
  }
  job.sync_nodes();
  app::Report report;
  if (job.node() == 0) report = check(job, settings, job.workers(), deliveries);
  return job.finish(report);
}
