#include "runtime/misuse.h"

#define UNW_LOCAL_ONLY
#include <dlfcn.h>
#include <libunwind.h>

#include <array>
#include <atomic>
#include <cstdlib>

#include "base/log.h"
#include "runtime/node.h"

namespace dsm::runtime {
namespace {

using Text = std::array<char, 128>;

// Return addresses, innermost first; the rest null.
struct Callers {
  std::array<void*, 12> frames{};
};

// What note_callers() has noted, by its number; 0 is none.
constexpr std::uint32_t kNotes = 8192;
constinit std::array<Callers, kNotes> notes{};
constinit std::atomic<std::uint32_t> notes_made{0};

// "function+0x12", or "file+0x1234" for addr2line where no symbol is known.
Text place_of(std::uint64_t at) {
  Text text{"?"};
  std::array<char, 96> name{};
  unw_word_t offset = 0;
  unw_context_t context;
  unw_cursor_t cursor;
  const bool named = unw_getcontext(&context) == 0 && unw_init_local(&cursor, &context) == 0 &&
                     unw_set_reg(&cursor, UNW_REG_IP, at) == 0 &&
                     unw_get_proc_name(&cursor, name.data(), name.size(), &offset) == 0;
  Dl_info file{};
  const bool known = ::dladdr(reinterpret_cast<void*>(at), &file) != 0 && file.dli_fname != nullptr;
  const std::uint64_t base = known ? reinterpret_cast<std::uint64_t>(file.dli_fbase) : 0;
  auto end = named ? fmt::format_to_n(text.data(), text.size() - 1, "{}+{:#x}", name.data(), offset)
                   : fmt::format_to_n(text.data(), text.size() - 1, "{}+{:#x}", known ? file.dli_fname : "", at - base);
  *end.out = '\0';
  return text;
}

// Who called this, or, in a signal handler, who was interrupted and called that.
Callers callers_here(bool behind_signal) {
  Callers callers;
  unw_context_t context;
  unw_cursor_t cursor;
  if (unw_getcontext(&context) != 0 || unw_init_local(&cursor, &context) != 0) return callers;
  std::size_t count = 0;
  while (unw_step(&cursor) > 0 && count < callers.frames.size()) {
    unw_word_t at = 0;
    unw_get_reg(&cursor, UNW_REG_IP, &at);
    if (!behind_signal) callers.frames[count++] = reinterpret_cast<void*>(at);
    behind_signal = behind_signal && unw_is_signal_frame(&cursor) <= 0;
  }
  return callers;
}

void say_callers(const char* what, const Callers& callers) {
  log(LogLevel::kError, "borrow", "{}", what);
  for (void* const at : callers.frames) {
    if (at != nullptr) log(LogLevel::kError, "borrow", "  {}", place_of(reinterpret_cast<std::uint64_t>(at)).data());
  }
}

std::array<char, 160> site_text(CallSite site) {
  std::array<char, 160> text{};
  if (site.file == nullptr) return text;
  auto end = fmt::format_to_n(text.data(), text.size() - 1, " at {}:{}", site.file, site.line);
  *end.out = '\0';
  return text;
}

}  // namespace

void note_callers(Pin& pin) {
  pin.site.callers = 1 + notes_made.fetch_add(1) % (kNotes - 1);
  Callers& note = notes[pin.site.callers] = {};
  ::unw_backtrace(note.frames.data(),
                  static_cast<int>(note.frames.size()));  // 80 ns: it remembers how frames lie
}

void end_for_raw_access(const Node& node, const Pin& pin, std::uint64_t address) {
  const bool changes = pin.kind.load() == PinKind::kWrite;
  const Callers callers = node.engine->faults_inline() ? callers_here(true) : Callers{};
  log(LogLevel::kError, "borrow",
      "raw access to {:#x} at {} inside the thread's own {} borrow of the object {:#x}, begun{}: use what the borrow "
      "gave; the program ends",
      address, callers.frames[0] == nullptr ? "?" : place_of(reinterpret_cast<std::uint64_t>(callers.frames[0])).data(),
      changes ? "mutable" : "shared", pin.address.load(), site_text(pin.site).data());
  if (pin.site.callers != 0 && callers.frames[0] != nullptr) say_callers("the raw access:", callers);
  if (pin.site.callers != 0) say_callers("the borrow began:", notes[pin.site.callers]);
  std::abort();
}

void end_for_misuse(std::string_view what, std::uint64_t address, CallSite now, std::string_view earlier,
                    CallSite then) {
  log(LogLevel::kError, "borrow", "{} {:#x}{}{}{}{}; the program ends", what, address, site_text(now).data(),
      earlier.empty() ? "" : "; ", earlier, site_text(then).data());
  if (node_running() && node().config.check != 0) say_callers("now:", callers_here(false));
  if (then.callers != 0) say_callers("the earlier borrow:", notes[then.callers]);
  std::abort();
}

}  // namespace dsm::runtime
