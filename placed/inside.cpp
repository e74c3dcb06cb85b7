#include "placed/inside.h"

#include <cstdlib>
#include <cstring>
#include <utility>

#include "base/log.h"
#include "runtime/misuse.h"

namespace dsm::placed {
namespace {

thread_local unsigned calls_inside = 0;

// Without lanes a call that is posted inside comes to call_slot(), and without a hint a borrow comes to hints::take():
// both end the program.
struct InCall {
  InCall() : lanes(std::exchange(detail::my_lanes, nullptr)), hint(std::exchange(runtime::my_pins().hint, nullptr)) {
    ++calls_inside;
  }
  ~InCall() {
    --calls_inside;
    detail::my_lanes = lanes;
    runtime::my_pins().hint = hint;
  }
  InCall(const InCall&) = delete;
  InCall& operator=(const InCall&) = delete;

  detail::call_lanes* const lanes;
  runtime::Pin* const hint;
};

}  // namespace

std::string Asker::text() const {
  if (site.file != nullptr || from == nullptr) return what;
  const auto place = runtime::place_text(reinterpret_cast<std::uint64_t>(from), runtime::At::kCall);
  return fmt::format("{} (called by {})", what, place.data());
}

bool in_call() { return calls_inside != 0; }

void check_no_call(const Asker& asker) {
  if (!in_call()) return;
  log(LogLevel::kError, "placed",
      "{} inside a function that call_at runs{}{}: that must touch nothing but its object, as all calls of the node "
      "wait for it (spawn_on runs functions that may do anything); the program ends",
      asker.what, runtime::site_text(asker.site).data(),
      std::string_view(asker.text()).substr(std::strlen(asker.what)));
  std::abort();
}

void run_call(detail::run_records function, void* const* objects, std::byte* records, std::size_t stride,
              std::size_t count, void* result) {
  const InCall inside;
  function(objects, records, stride, count, result);
}

}  // namespace dsm::placed
