#include "placed/image.h"

#include <elf.h>
#include <link.h>

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <string>

#include "base/log.h"
#include "base/modules.h"
#include "runtime/calls.h"
#include "runtime/node.h"
#include "runtime/start_hooks.h"

namespace dsm::placed {
namespace {

struct Image {
  std::uint64_t base = 0;
  std::uint64_t code_begin = 0, code_end = 0;  // addresses
  std::uint64_t id = 0xcbf2'9ce4'8422'2325;
  bool has_build_id = false;
};

void mix(Image& image, const void* bytes, std::size_t count) {
  const auto* at = static_cast<const unsigned char*>(bytes);
  for (; count >= 8; count -= 8, at += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, at, sizeof word);
    image.id = (image.id ^ word) * 0x100'0000'01b3;
    image.id ^= image.id >> 29;
  }
  for (; count != 0; --count) image.id = (image.id ^ *at++) * 0x100'0000'01b3;
}

// Called for the program first; stops there.
int read_program(dl_phdr_info* info, std::size_t, void* to) {
  Image& image = *static_cast<Image*>(to);
  image.base = info->dlpi_addr;
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const ElfW(Phdr)& part = info->dlpi_phdr[i];
    const std::uint64_t begin = image.base + part.p_vaddr;
    if (part.p_type == PT_NOTE) {
      const std::string id = build_id_in({reinterpret_cast<const std::byte*>(begin), part.p_memsz});
      mix(image, id.data(), id.size());
      image.has_build_id |= !id.empty();
    }
    if (part.p_type != PT_LOAD || (part.p_flags & PF_X) == 0) continue;
    if (image.code_begin == 0) image.code_begin = begin;
    image.code_end = begin + part.p_memsz;
  }
  return 1;
}

const Image& image() {
  static const Image read = [] {
    Image made;
    ::dl_iterate_phdr(read_program, &made);
    const std::uint64_t bytes = made.code_end - made.code_begin;
    if (!made.has_build_id) mix(made, reinterpret_cast<const void*>(made.code_begin), bytes);
    mix(made, &bytes, sizeof bytes);
    return made;
  }();
  return read;
}

[[noreturn]] void end_for_foreign_code(std::uint64_t address) {
  log(LogLevel::kError, "placed",
      "a function at {:#x} cannot be run on another node: it is not the program's own code, but that of a shared "
      "library or made at run time; the program ends",
      address);
  std::abort();
}

}  // namespace

std::uint64_t offset_of(const void* function) {
  const auto address = reinterpret_cast<std::uint64_t>(function);
  if (address < image().code_begin || address >= image().code_end) end_for_foreign_code(address);
  return address - image().base;
}

const void* function_at(std::uint64_t offset) {
  const std::uint64_t address = image().base + offset;
  if (address < image().code_begin || address >= image().code_end) end_for_foreign_code(address);
  return reinterpret_cast<const void*>(address);
}

void check_same_program(runtime::Node& node, NodeId to) {
  static std::atomic<NodeSet> known{0};
  if (to == node.self || contains(known.load(), to)) return;
  if (runtime::Call(node, to, runtime::Operation::kProgram, {image().id, 0, 0}).wait() != 1) {
    log(LogLevel::kError, "placed",
        "node {} runs another program than node {}: work can be sent only between nodes of one program (spawn_on, "
        "spawn_to, call_at), of the same build; the program ends",
        to, node.self);
    std::abort();
  }
  known.fetch_or(node_bit(to));
}

namespace {

void serve(runtime::Node& node) {
  node.calls->handle(runtime::Operation::kProgram, [&node](runtime::Caller caller, const runtime::Request& request) {
    node.calls->reply(caller, request.args[0] == image().id ? 1 : 0);
  });
}

const bool hooked = (runtime::add_start_hook(serve), true);  // before main(), and so before the node starts

}  // namespace
}  // namespace dsm::placed
