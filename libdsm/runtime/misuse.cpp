#include "runtime/misuse.h"

#define UNW_LOCAL_ONLY
#include <dlfcn.h>
#include <libunwind.h>

#include <array>
#include <cstdlib>

#include "base/log.h"
#include "runtime/node.h"

namespace dsm::runtime {
namespace {

// "function+0x12" of who was interrupted by the signal whose handler runs on this stack; "?" if there is none.
std::array<char, 128> interrupted_place() {
  std::array<char, 128> text{"?"};
  unw_context_t context;
  unw_cursor_t cursor;
  if (unw_getcontext(&context) != 0 || unw_init_local(&cursor, &context) != 0) return text;
  bool behind_signal = false;
  while (unw_step(&cursor) > 0) {
    if (behind_signal) {
      std::array<char, 96> name{};
      unw_word_t offset = 0, at = 0;
      unw_get_reg(&cursor, UNW_REG_IP, &at);
      const bool named = unw_get_proc_name(&cursor, name.data(), name.size(), &offset) == 0;
      Dl_info file{};
      const bool known = ::dladdr(reinterpret_cast<void*>(at), &file) != 0 && file.dli_fname != nullptr;
      const std::uint64_t base = known ? reinterpret_cast<std::uint64_t>(file.dli_fbase) : 0;
      auto end =
          named ? fmt::format_to_n(text.data(), text.size() - 1, "{}+{:#x}", name.data(), offset)
                : fmt::format_to_n(text.data(), text.size() - 1, "{}+{:#x}", known ? file.dli_fname : "", at - base);
      *end.out = '\0';
      return text;
    }
    behind_signal = unw_is_signal_frame(&cursor) > 0;
  }
  return text;
}

std::array<char, 160> site_text(CallSite site) {
  std::array<char, 160> text{};
  if (site.file == nullptr) return text;
  auto end = fmt::format_to_n(text.data(), text.size() - 1, " at {}:{}", site.file, site.line);
  *end.out = '\0';
  return text;
}

}  // namespace

void end_for_raw_access(const Node& node, const Pin& pin, std::uint64_t address) {
  const bool changes = pin.kind.load() == PinKind::kWrite;
  const auto where = node.engine->faults_inline() ? interrupted_place() : std::array<char, 128>{"?"};
  log(LogLevel::kError, "borrow",
      "raw access to {:#x} at {} inside the thread's own {} borrow of the object {:#x}, begun{}: use what the borrow "
      "gave; the program ends",
      address, where.data(), changes ? "mutable" : "shared", pin.address.load(), site_text(pin.site).data());
  std::abort();
}

void end_for_misuse(std::string_view what, std::uint64_t address, CallSite now, std::string_view earlier,
                    CallSite then) {
  log(LogLevel::kError, "borrow", "{} {:#x}{}{}{}{}; the program ends", what, address, site_text(now).data(),
      earlier.empty() ? "" : "; ", earlier, site_text(then).data());
  std::abort();
}

}  // namespace dsm::runtime
