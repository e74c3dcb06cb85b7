#include "base/emulation.h"

#include <charconv>

namespace dsm {
namespace {

constexpr Emulation kRdma{2000, 5000, 2500};
constexpr Emulation kTcp{25000, 1100, 25000};

// Takes one number and the separator behind it off the front of `text`; -1 if there is none or it is out of range.
std::int64_t take_number(std::string_view& text, char separator) {
  std::int64_t number = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || number < 0 || number > kLargestEmulatedFigure) return -1;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  if (separator == '\0') return text.empty() ? number : -1;
  if (text.empty() || text.front() != separator) return -1;
  text.remove_prefix(1);
  return number;
}

}  // namespace

Result<Emulation> parse_emulation(std::string_view text) {
  if (text.empty()) return Emulation{};
  if (text == "rdma") return kRdma;
  if (text == "tcp") return kTcp;
  Emulation emulation;
  emulation.latency_ns = take_number(text, ':');
  if (emulation.latency_ns >= 0) emulation.bytes_per_us = take_number(text, ':');
  if (emulation.bytes_per_us > 0) emulation.message_ns = take_number(text, '\0');
  if (emulation.latency_ns < 0 || emulation.bytes_per_us <= 0 || emulation.message_ns < 0) {
    return fail(Errc::kBadOption,
                "DSM_EMULATE must be rdma, tcp or latency_ns:bytes_per_us:message_ns, each number at the most "
                "1000000000 and bytes_per_us above 0");
  }
  return emulation;
}

}  // namespace dsm
