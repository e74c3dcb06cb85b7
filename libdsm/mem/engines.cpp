// Which engines this kernel can run, and the choice among them.
#include <fmt/core.h>

#include "base/log.h"
#include "mem/fault_engine.h"
#include "mem/sigsegv_engine.h"
#include "mem/uffd_engine.h"

namespace dsm::mem {
namespace {

Result<std::unique_ptr<FaultEngine>> make_named(const std::string& name, const Geometry& geometry, std::byte* service) {
  if (name == "uffd-inline") return make_uffd_inline(geometry, service);
  if (name == "uffd-thread") return make_uffd_thread(geometry, service);
  return SigsegvEngine::make(geometry, service);
}

Result<std::unique_ptr<FaultEngine>> choose(const Geometry& geometry, std::byte* service) {
  const std::string obstacle = engine_obstacle("uffd-inline");
  if (obstacle.empty()) {
    log(LogLevel::kInfo, "mem", "engine uffd-inline: the fastest, and this kernel can run it");
    return make_named("uffd-inline", geometry, service);
  }
  const std::string other = engine_obstacle("sigsegv");
  if (!other.empty()) {
    log(LogLevel::kError, "mem", "no fault engine can run: uffd-inline: {}; sigsegv: {}", obstacle, other);
    return fail(Errc::kNoSupport, "no fault engine can run here");
  }
  log(LogLevel::kWarn, "mem", "engine sigsegv, since uffd-inline cannot run: {}", obstacle);
  return make_named("sigsegv", geometry, service);
}

}  // namespace

std::string engine_obstacle(const std::string& name) {
  if (name == "uffd-inline") return Userfault::obstacle(FaultRoute::kSignal);
  if (name == "uffd-thread") return Userfault::obstacle(FaultRoute::kMessages);
  if (name == "sigsegv") return SigsegvEngine::obstacle();
  return fmt::format("there is no engine \"{}\": choose auto, uffd-inline, uffd-thread or sigsegv", name);
}

std::string kernel_faults_obstacle() {
  if (std::string obstacle = Userfault::obstacle(FaultRoute::kMessages); !obstacle.empty()) return obstacle;
  const auto opened = Userfault::open(FaultRoute::kMessages);
  if (!opened) return describe(opened.error());
  return opened->user_mode_only() ? "this user may not handle faults of the kernel" : "";
}

Result<std::unique_ptr<FaultEngine>> make_engine(const std::string& name, const Geometry& geometry,
                                                 std::byte* service) {
  if (name == "auto") return choose(geometry, service);
  const bool known = name == "uffd-inline" || name == "uffd-thread" || name == "sigsegv";
  if (const std::string obstacle = engine_obstacle(name); !known) {
    log(LogLevel::kError, "mem", "{}", obstacle);
    return fail(Errc::kBadOption, "there is no such fault engine");
  } else if (!obstacle.empty()) {
    log(LogLevel::kError, "mem", "engine {} cannot run: {}", name, obstacle);
    return fail(Errc::kNoSupport, "the fault engine asked for cannot run here");
  }
  return make_named(name, geometry, service);
}

}  // namespace dsm::mem
