#include "runtime/misuse.h"

#define UNW_LOCAL_ONLY
#include <dlfcn.h>
#include <libunwind.h>

#include <array>
#include <atomic>
#include <cstdlib>

#include "base/log.h"
#include "insight/stack.h"
#include "runtime/node.h"
#include "runtime/waits.h"

namespace dsm::runtime {
namespace {

// What note_callers() has noted, by its number; 0 is none.
constexpr std::uint32_t kNotes = 8192;
constinit std::array<Frames, kNotes> notes{};
constinit std::atomic<std::uint32_t> notes_made{0};

}  // namespace

PlaceText place_text(std::uint64_t at, At kind) {
  PlaceText text{"?"};
  std::array<char, 96> name{};
  unw_word_t offset = 0;
  unw_context_t context;
  unw_cursor_t cursor;
  const unsigned behind = kind == At::kAccess ? 1 : 0;  // libunwind looks before a return address
  const bool named = unw_getcontext(&context) == 0 && unw_init_local(&cursor, &context) == 0 &&
                     unw_set_reg(&cursor, UNW_REG_IP, at + behind) == 0 &&
                     unw_get_proc_name(&cursor, name.data(), name.size(), &offset) == 0;
  Dl_info file{};
  const bool known = ::dladdr(reinterpret_cast<void*>(at), &file) != 0 && file.dli_fname != nullptr;
  const std::uint64_t base = known ? reinterpret_cast<std::uint64_t>(file.dli_fbase) : 0;
  auto end = named ? fmt::format_to_n(text.data(), text.size() - 1, "{}+{:#x}", name.data(), offset - behind)
                   : fmt::format_to_n(text.data(), text.size() - 1, "{}+{:#x}", known ? file.dli_fname : "", at - base);
  *end.out = '\0';
  return text;
}

void say_callers(const char* what, std::span<const std::uint64_t> frames, At first, const char* subsystem) {
  log(LogLevel::kError, subsystem, "{}", what);
  for (std::size_t i = 0; i < frames.size() && frames[i] != 0; ++i) {
    log(LogLevel::kError, subsystem, "  {}", place_text(frames[i], i == 0 ? first : At::kCall).data());
  }
}

std::span<const std::uint64_t> callers_of(const CallSite& site) {
  if (site.callers == 0) return {};
  return notes[site.callers];
}

std::array<char, 160> site_text(CallSite site) {
  std::array<char, 160> text{};
  if (site.file == nullptr) return text;
  auto end = fmt::format_to_n(text.data(), text.size() - 1, " at {}:{}", site.file, site.line);
  *end.out = '\0';
  return text;
}

void note_callers(Pin& pin) {
  const std::uint32_t number = 1 + notes_made.fetch_add(1) % (kNotes - 1);
  notes[number] = callers_now();
  std::atomic_ref(pin.site.callers).store(number, std::memory_order_release);
}

void end_for_raw_access(const Node& node, const Pin& pin, std::uint64_t address) {
  const bool changes = pin.kind.load() == PinKind::kWrite;
  Frames callers{};
  if (node.engine->faults_inline()) {
    insight::walk_stack(insight::From::kInterrupted, callers.data(), callers.size());
  }
  const std::uint64_t accessed = callers[0];
  log(LogLevel::kError, "borrow",
      "raw access to {:#x} at {} inside the thread's own {} borrow of the object {:#x}, begun{}: use what the borrow "
      "gave; the program ends",
      address, accessed == 0 ? "?" : place_text(accessed, At::kAccess).data(), changes ? "mutable" : "shared",
      pin.address.load(), site_text(pin.site).data());
  if (pin.site.callers != 0 && accessed != 0) say_callers("the raw access:", callers, At::kAccess);
  if (pin.site.callers != 0) say_callers("the borrow began:", callers_of(pin.site));
  std::abort();
}

void end_for_misuse(std::string_view what, std::uint64_t address, CallSite now, std::string_view earlier,
                    CallSite then) {
  log(LogLevel::kError, "borrow", "{} {:#x}{}{}{}{}; the program ends", what, address, site_text(now).data(),
      earlier.empty() ? "" : "; ", earlier, site_text(then).data());
  if (node_running() && node().config.check != 0) {
    Frames callers{};
    insight::walk_stack(insight::From::kCaller, callers.data(), callers.size());
    say_callers("now:", callers);
  }
  if (then.callers != 0) say_callers("the earlier borrow:", callers_of(then));
  std::abort();
}

}  // namespace dsm::runtime
