#include "bench/micro/traces.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <random>

namespace dsm::bench {
namespace {

using Random = std::mt19937_64;

// Zipf over n items with exponent 0.99, the items in random order, by inversion of the sum.
class Zipf {
 public:
  Zipf(std::uint32_t items, Random& random) : sums_(items), order_(items) {
    double sum = 0;
    for (std::uint32_t i = 0; i < items; ++i) sums_[i] = sum += 1 / std::pow(i + 1, 0.99);
    std::iota(order_.begin(), order_.end(), 0U);
    std::shuffle(order_.begin(), order_.end(), random);
  }
  std::uint32_t next(Random& random) const {
    const double at = std::uniform_real_distribution<>(0, sums_.back())(random);
    const auto found = std::lower_bound(sums_.begin(), sums_.end(), at) - sums_.begin();
    return order_[static_cast<std::size_t>(std::min<std::ptrdiff_t>(found, std::ssize(order_) - 1))];
  }

 private:
  std::vector<double> sums_;
  std::vector<std::uint32_t> order_;
};

void touch(PageTrace& trace, std::uint64_t page) {
  const auto number = static_cast<std::uint32_t>(page);
  if (trace.touches.empty() || trace.touches.back() != number) trace.touches.push_back(number);
}

PageTrace zipf(std::size_t touches) {
  PageTrace trace{"zipf", "zipf 0.99 over 64 Ki pages, a tenth fits", 1 << 16, (1 << 16) / 10, {}};
  Random random(1);
  const Zipf keys(trace.pages, random);
  while (trace.touches.size() < touches) touch(trace, keys.next(random));
  return trace;
}

// As bench_bounded does it: all pages once in order, then by zipf.
PageTrace zipf_half(std::size_t touches) {
  PageTrace trace{"zipf/2", "as zipf, once from end to end before, half fits", 1 << 16, 1 << 15, {}};
  Random random(5);
  const Zipf keys(trace.pages, random);
  for (std::uint32_t page = 0; page < trace.pages; ++page) touch(trace, page);
  while (trace.touches.size() < touches) touch(trace, keys.next(random));
  return trace;
}

// Every so often a table as large as twice the cache is read once from end to end, beside the lookups.
PageTrace scan_and_zipf(std::size_t touches) {
  PageTrace trace{
      "scan+zipf", "as zipf, every 4th touch belongs to a scan of 192 Ki pages", 1 << 18, (1 << 16) / 10, {}};
  Random random(2);
  constexpr std::uint32_t kKeys = 1 << 16;
  const Zipf keys(kKeys, random);
  std::uint32_t scanned = 0;
  for (std::size_t i = 0; i < touches; ++i) {
    touch(trace, i % 4 == 0 ? kKeys + scanned++ % (trace.pages - kKeys) : keys.next(random));
  }
  return trace;
}

PageTrace loop(std::size_t touches) {
  PageTrace trace{"loop", "16 Ki pages again and again, 10 in 11 fit", 1 << 14, (1 << 14) * 10 / 11, {}};
  for (std::size_t i = 0; i < touches; ++i) touch(trace, i % trace.pages);
  return trace;
}

// What std::sort reads, recorded by its comparisons: elements of 64 bytes, sorted by a random key.
PageTrace sort(std::size_t elements) {
  struct Element {
    std::uint64_t key;
    std::uint64_t rest[7];
  };
  std::vector<Element> array(elements);
  Random random(3);
  for (Element& element : array) element.key = random();
  const auto pages = static_cast<std::uint32_t>(elements * sizeof(Element) / 4096 + 1);
  PageTrace trace{"std::sort", "what std::sort touches of an array, half fits", pages, pages / 2, {}};
  const auto record = [&](const Element& element) {
    if (&element < array.data() || &element >= array.data() + elements) return;  // a copy of its own
    touch(trace, static_cast<std::uint64_t>(&element - array.data()) * sizeof(Element) / 4096);
  };
  std::sort(array.begin(), array.end(), [&](const Element& a, const Element& b) {
    record(a);
    record(b);
    return a.key < b.key;
  });
  return trace;
}

// What look-ups of zipf keys in a std::map touch, recorded by its comparisons; nodes of 256 bytes in order of
// insertion.
PageTrace tree(std::size_t keys, std::size_t touches) {
  struct Key {
    std::uint64_t value;
    std::uint64_t number;  // of the node; look-ups have none
  };
  constexpr std::uint64_t kNoNode = ~std::uint64_t{0};
  const auto pages = static_cast<std::uint32_t>(keys * 256 / 4096 + 1);
  PageTrace trace{"std::map", "what look-ups of zipf keys in a std::map touch, a quarter fits", pages, pages / 4, {}};
  bool recording = false;
  const auto less = [&](const Key& a, const Key& b) {
    for (const Key* key : {&a, &b}) {
      if (recording && key->number != kNoNode) touch(trace, key->number * 256 / 4096);
    }
    return a.value < b.value;
  };
  std::map<Key, int, decltype(less)> map(less);
  Random random(4);
  std::vector<std::uint64_t> values(keys);
  for (std::size_t i = 0; i < keys; ++i) map.emplace(Key{values[i] = random(), i}, 0);
  const Zipf zipf(static_cast<std::uint32_t>(keys), random);
  recording = true;
  while (trace.touches.size() < touches) (void)map.find(Key{values[zipf.next(random)], kNoNode});
  return trace;
}

}  // namespace

std::vector<PageTrace> make_traces(double scale) {
  const auto touches = static_cast<std::size_t>(2'000'000 * scale);
  const auto elements = static_cast<std::size_t>(1'000'000 * scale);
  std::vector<PageTrace> traces;
  traces.push_back(zipf(touches));
  traces.push_back(zipf_half(touches));
  traces.push_back(scan_and_zipf(touches));
  traces.push_back(loop(touches));
  traces.push_back(sort(elements));
  traces.push_back(tree(elements / 5, touches));
  return traces;
}

}  // namespace dsm::bench
