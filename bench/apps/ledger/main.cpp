// Runs the ledger (ledger.h, which is C) on all nodes, with as many of its hints as are asked for, and checks it
// against the same payments made by one thread.
#include <fmt/core.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "bench/apps/frame/job.h"
#include "bench/apps/frame/random.h"
#include "bench/apps/ledger/ledger.h"
#include "support/command_line.h"

namespace {

using app::Job;

struct Settings {
  std::uint64_t payments = 5000;  // a worker
  std::size_t people = 4096;
  std::size_t branches = 64;
  int hints = 0;
};

std::uint64_t random_number(std::uint64_t i) { return app::mix(i * 0x9e3779b97f4a7c15 + 1); }

std::vector<payment> payments_of(const Settings& settings, std::uint64_t seed, unsigned worker) {
  std::vector<payment> list(settings.payments);
  for (std::uint64_t i = 0; i < list.size(); ++i) {
    const std::uint64_t random = app::random_at(seed, worker, i);
    list[i] = {static_cast<std::uint32_t>(random % settings.people),
               static_cast<std::uint16_t>((random >> 32) % LEDGER_FRIENDS), static_cast<std::uint16_t>(random >> 48)};
  }
  return list;
}

// Arrays of zeros from `make(type, count)`, with the structs in them linked.
template <typename Make>
ledger* linked(ledger* made, const Settings& settings, std::size_t tellers, Make make) {
  *made = {make(std::type_identity<person>{}, settings.people),
           make(std::type_identity<account>{}, settings.people),
           make(std::type_identity<inbox>{}, settings.people),
           make(std::type_identity<branch>{}, settings.branches),
           make(std::type_identity<teller>{}, tellers),
           settings.people,
           settings.branches,
           tellers};
  ledger_link(made, random_number);
  return made;
}

template <typename T>
void compare(Job& job, const char* what, const T* got, const T* right, std::size_t count, app::Checksum& checksum) {
  for (std::size_t i = 0; i < count; ++i) {
    const auto& [sum, times, name] = got[i];
    const auto& [right_sum, right_times, right_name] = right[i];
    if (sum != right_sum || times != right_times || std::memcmp(name, right_name, sizeof(name)) != 0) {
      return job.fail(fmt::format("{} {} has {} after {} payments instead of {} after {}.", what, i, sum, times,
                                  right_sum, right_times));
    }
    checksum.add(static_cast<std::uint64_t>(sum) ^ times);
  }
}

app::Report check(Job& job, const Settings& settings, std::uint64_t seed, const ledger& got) {
  std::vector<std::vector<std::uint64_t>> memory;
  ledger right;
  linked(&right, settings, job.workers(), [&]<typename T>(std::type_identity<T>, std::size_t count) {
    memory.emplace_back(count * sizeof(T) / sizeof(std::uint64_t));
    return reinterpret_cast<T*>(memory.back().data());
  });
  for (unsigned worker = 0; worker < job.workers(); ++worker) {
    const std::vector<payment> payments = payments_of(settings, seed, worker);
    ledger_pay(&right, worker, payments.data(), payments.size(), 0);
  }
  app::Checksum checksum;
  compare(job, "account", got.accounts, right.accounts, settings.people, checksum);
  compare(job, "inbox", got.inboxes, right.inboxes, settings.people, checksum);
  compare(job, "branch", got.branches, right.branches, settings.branches, checksum);
  compare(job, "teller", got.tellers, right.tellers, job.workers(), checksum);
  app::Report report;
  report.checksum = checksum.value();
  report.parameters = {
      {"payments_per_worker", settings.payments}, {"people", settings.people}, {"branches", settings.branches}};
  report.results = {{"hints", settings.hints}};
  return report;
}

}  // namespace

int main(int argc, char** argv) {
  dsm::support::CommandLine cli{
      "Payments in a bank of C structs that point at each other, with some or all of its hints."};
  app::Options options;
  Settings settings;
  cli.option("-n,--payments", settings.payments, "payments of each worker")
      .range(std::uint64_t{1}, std::uint64_t{1} << 32)
      .show_default();
  cli.option("--people", settings.people, "people").range(1, 1 << 24).show_default();
  cli.option("--branches", settings.branches, "branches").range(1, 1 << 16).show_default();
  cli.option("--hints", settings.hints, "how many hints are on; mode hinted has them all")
      .range(0, static_cast<int>(LEDGER_HINTS))
      .show_default();
  app::add_modes(cli, options);
  app::add_options(cli, options);
  if (const auto status = cli.parse(argc, argv)) return *status;
  if (options.mode == app::Mode::kOwned) {
    std::fputs("app_ledger: owned mode is not to be had: its objects have many pointers to each.\n", stderr);
    return 2;
  }
  if (options.mode == app::Mode::kHinted) settings.hints = LEDGER_HINTS;
  Job job{"app_ledger", options};
  auto* const bank = job.shared<ledger>(1, dsm::on_node(0));
  if (job.node() == 0) {
    linked(bank, settings, job.workers(),
           [&]<typename T>(std::type_identity<T>, std::size_t count) { return job.pages<T>(count); });
    for (const auto& [at, bytes] : {std::pair<void*, std::size_t>{bank->accounts, settings.people * sizeof(account)},
                                    {bank->inboxes, settings.people * sizeof(inbox)},
                                    {bank->branches, settings.branches * sizeof(branch)},
                                    {bank->tellers, job.workers() * sizeof(teller)}}) {
      std::memset(at, 0, bytes);
    }
  }
  job.sync_nodes();
  job.measure("payments", [&](const app::Worker& worker) {
    const std::vector<payment> payments = payments_of(settings, options.seed, worker.index);
    constexpr std::size_t kAtOnce = 16;
    for (std::size_t i = 0; i < payments.size(); i += kAtOnce) {
      const double start = app::now_seconds();
      const int hints = i == 0 ? settings.hints : std::min(settings.hints, LEDGER_HINTS - 1);  // one transfer is enough
      ledger_pay(bank, worker.index, &payments[i], std::min(kAtOnce, payments.size() - i), hints);
      job.note_latency(worker.index, app::now_seconds() - start);
    }
    return payments.size();
  });
  app::Report report;
  if (job.node() == 0) report = check(job, settings, options.seed, *bank);
  return job.finish(report);
}
