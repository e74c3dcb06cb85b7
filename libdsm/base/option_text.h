// What an option's value may be, and how it reads as text. Used by config.cpp alone.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace dsm {

enum class OptionType { kText, kNumber, kBytes };

struct OptionRule {
  const char* name;
  OptionType type;
  std::int64_t minimum;  // numbers and bytes only
  std::int64_t maximum;
};

// "" if the rule allows the value, else what it allows: "a whole number from 0 to 512".
std::string not_allowed(const OptionRule& rule, const std::string& value);

// A decimal or 0x-number that fills the text; nothing for any other text.
Result<std::int64_t> parse_number(std::string_view text);

// 67108864 -> "64M"; a size that no suffix fits evenly stays a number, an address is hexadecimal.
std::string bytes_text(std::int64_t bytes);

// How many letters must be put in, left out or replaced to make `a` of `b`.
std::size_t edit_distance(std::string_view a, std::string_view b);

}  // namespace dsm
