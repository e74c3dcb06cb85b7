#include "insight/marks.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <charconv>

namespace dsm::insight {
namespace {

constexpr std::string_view kApartWord = "apart", kSpreadWord = "spread", kNodeWord = "node";

template <typename Number>
bool read_hex(std::string_view text, Number& number) {
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), number, 16);
  return error == std::errc{} && rest == text.data() + text.size();
}

bool is_build_id(std::string_view text) {
  return !text.empty() && text.size() <= kMostBuildIdDigits && text.size() % 2 == 0 &&
         text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

std::optional<Serving> read_serving(std::string_view word) {
  if (word == kApartWord) return Serving{Serve::kApart, 0};
  if (word == kSpreadWord) return Serving{Serve::kSpread, 0};
  if (!word.starts_with(kNodeWord)) return std::nullopt;
  Serving serving{Serve::kNode, 0};
  word.remove_prefix(kNodeWord.size());
  if (!read_hex(word, serving.node) || serving.node >= kMaxNodes) return std::nullopt;
  return serving;
}

std::string word_of(const Serving& serving) {
  if (serving.how == Serve::kNode) return fmt::format("{}{:x}", kNodeWord, serving.node);
  return std::string{serving.how == Serve::kApart ? kApartWord : kSpreadWord};
}

std::optional<SiteMark> read_mark(std::string_view text) {
  std::array<std::string_view, 4> fields;
  for (std::size_t i = 0; i < fields.size(); ++i) {
    const bool last = i + 1 == fields.size();
    const std::size_t end = last ? text.size() : text.find(':');
    if (end == std::string_view::npos) return std::nullopt;
    fields[i] = text.substr(0, end);
    text.remove_prefix(last ? end : end + 1);
  }
  const auto serving = read_serving(fields[0]);
  SiteMark mark;
  if (!serving || !read_hex(fields[1], mark.offset) || !is_build_id(fields[2]) || fields[3].empty())
    return std::nullopt;
  mark.id = fields[2];
  mark.module = fields[3];
  mark.serving = *serving;
  return mark;
}

}  // namespace

std::string to_text(std::span<const SiteMark> marks) {
  std::string text;
  for (const SiteMark& mark : marks) {
    text += fmt::format("{}{}:{:x}:{}:{}", text.empty() ? "" : " ", word_of(mark.serving), mark.offset, mark.id,
                        mark.module);
  }
  return text;
}

std::optional<std::vector<SiteMark>> parse_marks(std::string_view text) {
  std::vector<SiteMark> marks;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(' '), text.size());
    auto mark = read_mark(text.substr(0, end));
    if (!mark || marks.size() == kMostMarks) return std::nullopt;
    marks.push_back(std::move(*mark));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return marks;
}

std::string module_name(std::string_view path) {
  std::string name{path.substr(path.rfind('/') + 1)};
  std::replace_if(
      name.begin(), name.end(), [](char c) { return c <= ' ' || c == ':' || c > '~'; }, '?');
  return name;
}

}  // namespace dsm::insight
