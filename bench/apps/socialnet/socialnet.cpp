// DeathStarBench's compose-post: a front service takes requests and calls a text, a media, and a storage service, which
// lie on the nodes round robin. All modes run the same services; they differ in how texts and media go from one to the
// next. `message` mode is the baseline: no shared memory, values in serialised messages.
#include <dsm/atomic.h>
#include <dsm/spawn.h>
#include <fmt/core.h>

#include <atomic>
#include <deque>
#include <mutex>
#include <optional>
#include <vector>

#include "bench/apps/frame/job.h"
#include "bench/apps/socialnet/ways.h"
#include "support/command_line.h"

namespace {

using app::Job;
using namespace app::social;

struct Settings {
  std::uint64_t requests = 100;  // a worker
  std::uint64_t items = 64;
  std::uint64_t kept = 4;  // posts with their media that a store keeps, for each worker
};

// What the services of one node share.
template <typename Ways>
struct Services {
  struct Post {
    std::uint64_t id;
    std::string text;
    std::uint64_t item;
    typename Ways::Media media;
  };

  Services(Job& job, const Settings& settings) : ways(job, settings.items), kept(settings.kept * job.threads()) {
    here = this;
  }

  Ways ways;
  std::size_t kept;
  std::mutex storing;
  std::deque<Post> posts;  // the last ones
  std::uint64_t stored = 0, digest = 0, ids = 0;

  static inline Services* here = nullptr;
};

// A call's result, at once or later.
template <typename R>
class Answer {
 public:
  explicit Answer(R now) : now_(std::move(now)) {}
  explicit Answer(dsm::future<R> later) : later_(std::move(later)) {}
  R get() { return now_ ? std::move(*now_) : later_.get(); }

 private:
  std::optional<R> now_;
  dsm::future<R> later_;
};
template <typename F, typename... Args>
auto call(const Job& job, unsigned node, F service, Args... args) {
  using R = std::invoke_result_t<F, Args...>;
  if (job.is_own(node)) return Answer<R>(service(std::move(args)...));
  return Answer<R>(dsm::spawn_on(node, service, std::move(args)...));
}

template <typename Text>
struct Scanned {
  Text text;
  Mentions mentions;
};

}  // namespace

template <typename Text>
inline constexpr bool dsm::travels<Scanned<Text>> = true;

namespace {

// --- the services, each on the node where it is called ---------------------------------------------------------------

template <typename Ways>
Scanned<typename Ways::Text> text_service(typename Ways::Text text) {
  const Mentions found = Services<Ways>::here->ways.read(text, scan);
  return {std::move(text), found};
}

template <typename Ways>
typename Ways::Media media_service(std::uint64_t item, std::uint64_t id, bool remote) {
  Ways& ways = Services<Ways>::here->ways;
  typename Ways::Media made = ways.copy(item, id);
  if (remote) ways.pack(made);
  return made;
}

template <typename Ways>
std::uint64_t storage_service(std::uint64_t id, std::uint64_t item, Scanned<typename Ways::Text> text,
                              typename Ways::Media media, bool remote) {
  Services<Ways>& here = *Services<Ways>::here;
  if (remote) here.ways.unpack(media);
  typename Services<Ways>::Post post{id, {}, item, std::move(media)};
  here.ways.read(text.text, [&](std::span<const char> letters) { post.text.assign(letters.begin(), letters.end()); });
  here.ways.drop(text.text);
  const std::uint64_t digest = digest_of(text.mentions, post.text, app::mix(post.media.sum));
  std::optional<typename Services<Ways>::Post> old;
  {
    const std::lock_guard guard(here.storing);
    here.posts.push_back(std::move(post));
    here.digest += digest;
    here.ids += id;
    ++here.stored;
    if (here.posts.size() > here.kept) {
      old.emplace(std::move(here.posts.front()));
      here.posts.pop_front();
    }
  }
  if (old) here.ways.drop(old->media);
  return digest;
}

// --- the front -------------------------------------------------------------------------------------------------------

// The unique ids: at node 0, one operation each.
class Ids {
 public:
  explicit Ids(Job& job) : native_(job.native()), next_(job.shared<dsm::atomic<std::uint64_t>>(1, dsm::on_node(0))) {}
  std::uint64_t next() {
    return native_ ? std::atomic_ref(*reinterpret_cast<std::uint64_t*>(next_)).fetch_add(1) : next_->fetch_add(1);
  }

 private:
  bool native_;
  dsm::atomic<std::uint64_t>* next_;
};

template <typename Ways>
void compose(Job& job, Ways& ways, Ids& ids, unsigned node, std::uint64_t number, const Request& request) {
  const auto text_node = static_cast<unsigned>((node + number) % job.nodes());
  const auto media_node = static_cast<unsigned>((node + number + 1) % job.nodes());
  const std::uint64_t id = ids.next();
  const bool media_remote = !job.is_own(media_node), storage_remote = !job.is_own(text_node);
  auto text = call(job, text_node, text_service<Ways>, ways.write(request.text));
  auto media = call(job, media_node, media_service<Ways>, std::uint64_t{request.item}, id, media_remote);
  Scanned<typename Ways::Text> scanned = text.get();
  typename Ways::Media made = media.get();
  if (media_remote) ways.unpack(made);
  if (storage_remote) ways.pack(made);
  call(job, text_node, storage_service<Ways>, id, std::uint64_t{request.item}, std::move(scanned), std::move(made),
       storage_remote)
      .get();
}

// --- the check -------------------------------------------------------------------------------------------------------

struct Result {
  std::uint64_t stored, digest, ids;
};

// What the store still has is whole: every pixel is the item's, but for the mark.
template <typename Ways>
void check_posts(Job& job, Services<Ways>& services) {
  for (auto& post : services.posts) {
    services.ways.read(post.media, [&](const Word* words) {
      for (std::size_t frame = 0; frame < kFrames; ++frame, words += kFrameWords) {
        bool right = words[0] == post.id;
        for (std::size_t at = 1; at < kFrameWords; ++at) right &= words[at] == pixels(post.item, frame, at);
        if (!right) job.fail(fmt::format("frame {} of post {} is not what was copied.", frame, post.id));
      }
    });
    services.ways.drop(post.media);
  }
  services.posts.clear();
}

app::Report check(Job& job, const Settings& settings, std::uint64_t seed, const std::vector<Result*>& results) {
  Result all{}, right{};
  for (const Result* one : results) {
    all.stored += one->stored;
    all.digest += one->digest;
    all.ids += one->ids;
  }
  std::vector<std::uint64_t> sums(settings.items);
  std::vector<Word> words(kItemWords);
  for (std::uint64_t item = 0; item < settings.items; ++item) {
    draw(item, words.data());
    sums[item] = mark(words.data(), 0);
  }
  for (unsigned worker = 0; worker < job.workers(); ++worker) {
    for (std::uint64_t number = 0; number < settings.requests; ++number) {
      const Request request = request_of(seed, worker, number, settings.items);
      right.ids += right.stored++;
      right.digest += digest_of(scan(request.text), request.text, app::mix(sums[request.item]));
    }
  }
  if (all.stored != right.stored || all.digest != right.digest) {
    job.fail(fmt::format("{} posts with digest {:x} were stored instead of {} with {:x}.", all.stored, all.digest,
                         right.stored, right.digest));
  }
  if (all.ids != right.ids) job.fail("the posts' ids are not the first numbers, each once.");
  app::Report report;
  app::Checksum checksum;
  checksum.add(all.digest);
  report.checksum = checksum.value();
  report.parameters = {{"requests_per_worker", settings.requests}, {"items", settings.items}};
  return report;
}

template <typename Ways>
int run_mode(const Settings& settings, const app::Options& options) {
  Job job{"app_socialnet", options};
  Ids ids{job};
  std::vector<Result*> results(job.nodes());
  for (Result*& result : results) result = job.shared<Result>(1);
  Services<Ways> services{job, settings};
  job.sync_nodes();
  job.measure("requests", [&](const app::Worker& worker) {
    std::vector<Request> requests;
    for (std::uint64_t i = 0; i < settings.requests; ++i) {
      requests.push_back(request_of(options.seed, worker.index, i, settings.items));
    }
    const unsigned node = worker.index / job.threads();
    for (std::uint64_t i = 0; i < settings.requests; ++i) {
      const double start = app::now_seconds();
      compose(job, services.ways, ids, node, i, requests[i]);
      job.note_latency(worker.index, app::now_seconds() - start);
    }
    return settings.requests;
  });
  *results[job.node()] = {services.stored, services.digest, services.ids};
  check_posts(job, services);
  job.sync_nodes();
  app::Report report;
  if (job.node() == 0) report = check(job, settings, options.seed, results);
  return job.finish(report);
}

}  // namespace

int main(int argc, char** argv) {
  dsm::support::CommandLine cli{
      "A social network's compose-post: services on all nodes pass texts and media; every post is checked."};
  app::Options options;
  Settings settings;
  cli.option("-n,--requests", settings.requests, "requests of each worker")
      .range(std::uint64_t{1}, std::uint64_t{1} << 32)
      .show_default();
  cli.option("--items", settings.items, "media items, of 1.9 MB").range(1, 4096).show_default();
  app::add_modes(cli, options, true);
  app::add_options(cli, options);
  if (const auto status = cli.parse(argc, argv)) return *status;
  if (options.mode == app::Mode::kMessage) return run_mode<MessageWays>(settings, options);
  return app::in_mode<PlainWays, HintedWays, OwnedWays>(
      options.mode, [&]<typename Ways>(std::type_identity<Ways>) { return run_mode<Ways>(settings, options); });
}
