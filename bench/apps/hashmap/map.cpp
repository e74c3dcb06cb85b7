#include "bench/apps/hashmap/map.h"

#include <mutex>
#include <new>

namespace app {

Map::Map(Job& job, std::uint64_t buckets)
    : mask_(buckets - 1), locks_(job.shared<dsm::mutex>(buckets)), heads_(job.shared<Entry*>(buckets)) {
  // A lock's home is where it was constructed: spread them.
  const std::uint64_t first = buckets * job.node() / job.nodes();
  const std::uint64_t end = buckets * (job.node() + 1) / job.nodes();
  for (std::uint64_t bucket = first; bucket < end; ++bucket) ::new (&locks_[bucket]) dsm::mutex;
  job.sync_nodes();
}

Entry* Map::find(std::uint64_t bucket, std::uint64_t key) const {
  Entry* entry = heads_[bucket];
  while (entry != nullptr && entry->key != key) entry = entry->next;
  return entry;
}

Entry* Map::find_or_insert(std::uint64_t bucket, std::uint64_t key) {
  if (Entry* found = find(bucket, key)) return found;
  auto* entry = dsm::make<Entry>(Entry{key, heads_[bucket], 0, 0, {}});
  if (entry != nullptr) heads_[bucket] = entry;
  return entry;
}

bool Map::get(std::uint64_t key, Payload& payload) const {
  const std::uint64_t bucket = bucket_of(key);
  const std::lock_guard lock{locks_[bucket]};
  const Entry* entry = find(bucket, key);
  if (entry == nullptr || entry->writes == 0) return false;
  payload = entry->payload;
  return true;
}

bool Map::put(std::uint64_t key, const Payload& payload) {
  const std::uint64_t bucket = bucket_of(key);
  const std::lock_guard lock{locks_[bucket]};
  Entry* entry = find_or_insert(bucket, key);
  if (entry == nullptr) return false;
  entry->payload = payload;
  ++entry->writes;
  return true;
}

bool Map::increment(std::uint64_t key) {
  const std::uint64_t bucket = bucket_of(key);
  const std::lock_guard lock{locks_[bucket]};
  Entry* entry = find_or_insert(bucket, key);
  if (entry == nullptr) return false;
  ++entry->count;
  return true;
}

}  // namespace app
