// The group-by queries of h2oai's db-benchmark on a table whose columns lie on all nodes: each worker gathers the
// groups of its rows, then each adds up its share of the groups.
#include <fmt/core.h>

#include <bit>
#include <map>
#include <vector>

#include "bench/apps/dataframe/columns.h"
#include "bench/apps/frame/job.h"
#include "support/command_line.h"

namespace {

using app::Job;
using namespace app::frame;

struct Settings {
  std::uint64_t rows = std::uint64_t{1} << 19;
  std::uint64_t chunk_kib = 0;  // 0: 1 MiB, or less so that there are 16 pieces of work

  std::uint64_t chunk_bytes() const {
    if (chunk_kib != 0) return chunk_kib << 10;
    return std::clamp(std::bit_floor(rows / 16 * sizeof(std::int32_t)), std::uint64_t{1} << 12, std::uint64_t{1} << 20);
  }
};

// What came out of one query, by worker.
struct Found {
  std::uint64_t groups, digest;
  std::uint64_t least_bytes;  // that had to come from other nodes' memory
};
using FoundOfAll = std::array<Found, kQueries>;

// One worker's work on all queries.
template <typename Frame>
class Run {
 public:
  Run(Job& job, const Settings& settings, Frame& frame, const app::Worker& worker, FoundOfAll& found)
      : job_(job), rows_(settings.rows), frame_(frame), me_(worker.index), found_(found) {
    // Whole chunks of all columns, so that no two workers need the same one.
    const std::uint64_t piece = settings.chunk_bytes() / sizeof(std::int32_t), pieces = (rows_ + piece - 1) / piece;
    begin_ = std::min(rows_, pieces * me_ / job.workers() * piece);
    end_ = std::min(rows_, pieces * (me_ + 1) / job.workers() * piece);
  }
  std::uint64_t run() {
    [&]<std::size_t... Q>(std::index_sequence<Q...>) { (query<std::tuple_element_t<Q, Queries>>(found_[Q]), ...); }
    (std::make_index_sequence<kQueries>{});
    return (end_ - begin_) * kQueries;
  }

 private:
  unsigned node_of(unsigned worker) const { return worker / job_.threads(); }

  template <typename Query>
  void query(Found& found) {
    const double start = app::now_seconds();
    using Record = typename Query::Record;
    Groups<Record> mine;
    for (std::uint64_t row = begin_; row < end_; row += frame_.step()) {
      gather<Query>(row, std::min(row + frame_.step(), end_), mine, found, typename Query::Columns{});
    }
    note_seen(typename Query::Columns{});
    hand_out<Record>(mine.records());
    job_.sync_workers();
    const Groups<Record> all = add_up<Record>(found);
    found.groups = all.records().size();
    for (const Record& record : all.records()) found.digest += record.digest();
    job_.sync_workers();
    frame_.clear(me_);
    job_.note_latency(me_, app::now_seconds() - start);
  }

  template <typename Query, unsigned... C>
  void gather(std::uint64_t begin, std::uint64_t end, Groups<typename Query::Record>& groups, Found& found,
              std::integer_sequence<unsigned, C...>) {
    const std::tuple views{frame_.template view<C>(begin)...};
    std::array<const void*, kColumns> columns{};
    [&]<std::size_t... I>(std::index_sequence<I...>) { ((columns[C] = std::get<I>(views).at), ...); }
    (std::make_index_sequence<sizeof...(C)>{});
    add_rows<Query>(columns, end - begin, groups);
    for_columns([&]<unsigned Of>(std::integral_constant<unsigned, Of>) {
      const bool remote = columns[Of] != nullptr && !seen_[Of] && Of % job_.nodes() != node_of(me_);
      if (remote) found.least_bytes += (end - begin) * sizeof(TypeOf<Of>);
    });
  }

  // What this worker has read once need not come again.
  template <unsigned... C>
  void note_seen(std::integer_sequence<unsigned, C...>) {
    ((seen_[C] = true), ...);
  }

  // Split by the upper bits of the hash: the lower ones choose places in the tables.
  template <typename Record>
  unsigned part_of(const Record& record) const {
    return static_cast<unsigned>((record.hash() >> 32) * job_.workers() >> 32);
  }
  template <typename Record>
  void hand_out(const std::vector<Record>& records) {
    std::vector<std::size_t> ends(job_.workers() + 1);
    for (const Record& record : records) ++ends[part_of(record) + 1];
    for (unsigned part = 0; part < job_.workers(); ++part) ends[part + 1] += ends[part];
    std::vector<Record> sorted(records.size());
    std::vector<std::size_t> next(ends.begin(), ends.end() - 1);
    for (const Record& record : records) sorted[next[part_of(record)]++] = record;
    for (unsigned part = 0; part < job_.workers(); ++part) {
      frame_.put(me_, part, std::span<const Record>(sorted).subspan(ends[part], ends[part + 1] - ends[part]));
    }
  }
  template <typename Record>
  Groups<Record> add_up(Found& found) {
    Groups<Record> all;
    for (unsigned i = 0; i < job_.workers(); ++i) {
      const unsigned worker = (me_ + i) % job_.workers();  // not everybody asks the same one at once
      for (std::size_t number = 0; number < kPieces; ++number) {
        const auto piece = frame_.template get<Record>(worker, me_, number);
        if (piece.count == 0) break;
        add_records(std::span<const Record>(piece.at, piece.count), all);
        if (node_of(worker) != node_of(me_)) found.least_bytes += piece.count * sizeof(Record);
      }
    }
    return all;
  }

  Job& job_;
  std::uint64_t rows_;
  Frame& frame_;
  unsigned me_;
  std::uint64_t begin_, end_;
  std::array<bool, kColumns> seen_{};
  FoundOfAll& found_;
};

// The same query in one thread, row by row, into a map.
template <typename Query>
Found expected_of(const Table& table) {
  using Record = typename Query::Record;
  std::map<decltype(Record::key), Record> groups;
  for (std::uint64_t row = 0; row < table.rows; ++row) {
    const Record record =
        Query::of([&]<unsigned C>(std::integral_constant<unsigned, C>) { return table.value<C>(row); });
    const auto [at, fresh] = groups.try_emplace(record.key, record);
    if (!fresh) at->second.merge(record);
  }
  Found found{groups.size(), 0, 0};
  for (const auto& [key, record] : groups) found.digest += record.digest();
  return found;
}

app::Report check(Job& job, const Settings& settings, const Table& table, const std::vector<FoundOfAll*>& found) {
  app::Report report;
  app::Checksum checksum;
  [&]<std::size_t... Q>(std::index_sequence<Q...>) {
    const auto one = [&](std::size_t query, const Found& expected) {
      Found all{};
      for (const FoundOfAll* of : found) {
        all.groups += (*of)[query].groups;
        all.digest += (*of)[query].digest;
        report.least_bytes += (*of)[query].least_bytes;
      }
      if (all.groups != expected.groups || all.digest != expected.digest) {
        job.fail(fmt::format("query q{} gave {} groups with digest {:x} instead of {} with {:x}.", query + 1,
                             all.groups, all.digest, expected.groups, expected.digest));
      }
      checksum.add(all.digest);
    };
    (one(Q, expected_of<std::tuple_element_t<Q, Queries>>(table)), ...);
  }
  (std::make_index_sequence<kQueries>{});
  report.checksum = checksum.value();
  report.parameters = {{"rows", settings.rows}, {"chunk_bytes", settings.chunk_bytes()}, {"queries", kQueries}};
  return report;
}

template <typename Frame>
int run_mode(const Settings& settings, const app::Options& options) {
  Job job{"app_dataframe", options};
  const Table table{settings.rows, options.seed};
  std::vector<FoundOfAll*> found(job.workers());
  for (FoundOfAll*& of : found) of = job.shared<FoundOfAll>(1);
  Frame frame{job, table, settings.chunk_bytes()};
  job.measure("rows", [&](const app::Worker& worker) {
    FoundOfAll mine{};
    const std::uint64_t rows = Run<Frame>{job, settings, frame, worker, mine}.run();
    *found[worker.index] = mine;
    return rows;
  });
  app::Report report;
  if (job.node() == 0) report = check(job, settings, table, found);
  return job.finish(report);
}

}  // namespace

int main(int argc, char** argv) {
  dsm::support::CommandLine cli{
      "Ten group-by queries on a random table whose columns lie on all nodes; all groups are checked."};
  app::Options options;
  options.seed = 108;
  Settings settings;
  cli.option("-n,--rows", settings.rows, "rows of the table")
      .range(std::uint64_t{1}, std::uint64_t{1} << 31)
      .show_default();
  cli.option("--chunk-kib", settings.chunk_kib,
             "KiB of a column that lie together, a power of two (1024, and less for a small table)")
      .range(4, 4096)
      .power_of_two();
  app::add_modes(cli, options);
  app::add_options(cli, options);
  if (const auto status = cli.parse(argc, argv)) return *status;
  return app::in_mode<PlainFrame, HintedFrame, OwnedFrame>(
      options.mode, [&]<typename Frame>(std::type_identity<Frame>) { return run_mode<Frame>(settings, options); });
}
