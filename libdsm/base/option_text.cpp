#include "base/option_text.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <span>
#include <vector>

#include "base/config.h"
#include "base/emulation.h"
#include "base/types.h"

namespace dsm {
namespace {

constexpr const char* kEngines[] = {"auto", "uffd-inline", "uffd-thread", "sigsegv"};
constexpr const char* kTransports[] = {"shm", "verbs"};

// No size is as large and every base is larger: how bytes_text tells an address.
constexpr std::int64_t kLeastAddress = std::int64_t{1} << 43;

struct Suffix {
  char letter;
  int shift;
};
constexpr Suffix kSuffixes[] = {{'K', 10}, {'M', 20}, {'G', 30}, {'T', 40}};

std::string one_of(std::span<const char* const> allowed, const std::string& value) {
  if (std::find(allowed.begin(), allowed.end(), value) != allowed.end()) return "";
  if (allowed.size() == 1) return fmt::format("\"{}\"", allowed.front());
  return fmt::format("one of {}", fmt::join(allowed, ", "));
}

std::string not_allowed_text(const OptionRule& rule, const std::string& value) {
  const std::string_view name = rule.name;
  if (name == "engine") return one_of(kEngines, value);
  if (name == "transport") return one_of(kTransports, value);
  if (name == "rdma_device" || name == "profile" || name == "sites") return "";
  if (parse_emulation(value)) return "";
  return fmt::format(
      "empty, rdma, tcp, or three numbers latency_ns:bytes_per_us:message_ns, each at most {}, bytes_per_us above 0",
      kLargestEmulatedFigure);
}

std::string not_allowed_number(const OptionRule& rule, const std::string& value) {
  const auto number = parse_number(value);
  if (number && *number >= rule.minimum && *number <= rule.maximum) return "";
  return fmt::format("a whole number from {} to {}", rule.minimum, rule.maximum);
}

std::string not_allowed_bytes(const OptionRule& rule, const std::string& value) {
  const auto bytes = parse_bytes(value);
  const auto chunk = static_cast<std::int64_t>(kChunkBytes);
  if (bytes && *bytes >= rule.minimum && *bytes <= rule.maximum && *bytes % chunk == 0) return "";
  return fmt::format("a multiple of {} from {} to {}, such as 64M, 2G or 0x40000000", bytes_text(chunk),
                     bytes_text(rule.minimum), bytes_text(rule.maximum));
}

}  // namespace

Result<std::int64_t> parse_number(std::string_view text) {
  int base = 10;
  if (text.starts_with("0x") || text.starts_with("0X")) {
    base = 16;
    text.remove_prefix(2);
  }
  std::uint64_t number = 0;  // unsigned: takes no minus sign
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, base);
  if (error != std::errc{} || end != text.data() + text.size()) return fail(Errc::kBadOption, "not a number");
  if (number > std::numeric_limits<std::int64_t>::max()) return fail(Errc::kBadOption, "too large a number");
  return static_cast<std::int64_t>(number);
}

Result<std::int64_t> parse_bytes(const std::string& text) {
  std::string_view digits = text;
  int shift = 0;
  for (const auto [letter, power] : kSuffixes) {
    if (digits.empty() || (digits.back() != letter && digits.back() != letter - 'A' + 'a')) continue;
    shift = power;
    digits.remove_suffix(1);
    break;
  }
  const auto number = parse_number(digits);
  if (!number) return number;
  if (*number > std::numeric_limits<std::int64_t>::max() >> shift) return fail(Errc::kBadOption, "too large a size");
  return *number << shift;
}

std::string bytes_text(std::int64_t bytes) {
  if (bytes >= kLeastAddress) return fmt::format("{:#x}", bytes);
  for (auto suffix = std::rbegin(kSuffixes); suffix != std::rend(kSuffixes); ++suffix) {
    if (bytes != 0 && bytes % (std::int64_t{1} << suffix->shift) == 0)
      return fmt::format("{}{}", bytes >> suffix->shift, suffix->letter);
  }
  return fmt::format("{}", bytes);
}

std::string not_allowed(const OptionRule& rule, const std::string& value) {
  switch (rule.type) {
    case OptionType::kText:
      return not_allowed_text(rule, value);
    case OptionType::kNumber:
      return not_allowed_number(rule, value);
    case OptionType::kBytes:
      return not_allowed_bytes(rule, value);
  }
  return "";
}

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row[b.size()];
}

}  // namespace dsm
