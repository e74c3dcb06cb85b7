// {fmt}'s code, compiled here once. Other sources include <fmt/core.h>, which only declares it; with <fmt/format.h>
// each would compile it again, which takes several seconds.
#define FMT_HEADER_ONLY
#include <fmt/format.h>

#include <string>

// What {fmt}'s headers refer to. Inline, so that a program may have a {fmt} of its own beside it.
template void fmt::detail::vformat_to<char>(buffer<char>&, string_view, basic_format_args<buffer_context<char>>,
                                            locale_ref);
template fmt::detail::thousands_sep_result<char> fmt::detail::thousands_sep_impl<char>(locale_ref);
template char fmt::detail::decimal_point_impl<char>(locale_ref);

namespace dsm {
namespace {

// An address that is taken is a function that is compiled.
[[gnu::used]] std::string (*const format)(fmt::string_view, fmt::format_args) = fmt::vformat;
[[gnu::used]] void (*const print)(fmt::string_view, fmt::format_args) = fmt::vprint;
[[gnu::used]] void (*const print_to)(std::FILE*, fmt::string_view, fmt::format_args) = fmt::vprint;
[[gnu::used]] void (*const refuse)(const char*) = fmt::detail::throw_format_error;
[[gnu::used]] void (*const fail)(const char*, int, const char*) = fmt::detail::assert_fail;
[[gnu::used]] bool (*const is_printable)(std::uint32_t) = fmt::detail::is_printable;

}  // namespace
}  // namespace dsm
