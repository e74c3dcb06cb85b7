#include "runtime/start_hooks.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <mutex>

#include "base/check.h"

namespace dsm::runtime {
namespace {

constexpr std::size_t kMostHooks = 8;

constinit std::mutex hooks_lock;
constinit std::array<StartHook, kMostHooks> hooks{};
constinit std::size_t hook_count = 0;

}  // namespace

void add_start_hook(StartHook hook) {
  const std::lock_guard guard(hooks_lock);
  const auto end = hooks.begin() + static_cast<std::ptrdiff_t>(hook_count);
  if (std::find(hooks.begin(), end, hook) != end) return;
  DSM_CHECK(hook_count < kMostHooks, "too many start hooks");
  hooks[hook_count++] = hook;
}

void run_start_hooks(Node& node) {
  const std::lock_guard guard(hooks_lock);
  for (std::size_t i = 0; i < hook_count; ++i) hooks[i](node);
}

}  // namespace dsm::runtime
