#include "preload/inside_libc.h"

#include <dlfcn.h>
#include <link.h>

#include <cstdio>

#include "base/check.h"

namespace dsm::preload {

constinit CodeRange libc_code{};

namespace {

// The executable segment that holds the address in `at`.
int note_segment(dl_phdr_info* object, std::size_t, void* at) {
  const auto wanted = *static_cast<const std::uintptr_t*>(at);
  for (int i = 0; i < object->dlpi_phnum; ++i) {
    const ElfW(Phdr)& part = object->dlpi_phdr[i];
    const std::uintptr_t begin = object->dlpi_addr + part.p_vaddr;
    if (part.p_type != PT_LOAD || (part.p_flags & PF_X) == 0 || wanted - begin >= part.p_memsz) continue;
    libc_code = {begin, part.p_memsz};
    return 1;
  }
  return 0;
}

}  // namespace

void find_libc(bool streams_only) {
  void* const makes_buffers = ::dlsym(RTLD_NEXT, "_IO_file_doallocate");
  DSM_CHECK(makes_buffers != nullptr, "libc has no _IO_file_doallocate");
  Dl_info where{};
  const ElfW(Sym)* symbol = nullptr;
  const int found =
      ::dladdr1(makes_buffers, &where, reinterpret_cast<void**>(const_cast<ElfW(Sym)**>(&symbol)), RTLD_DL_SYMENT);
  DSM_CHECK(found != 0 && symbol != nullptr && symbol->st_size != 0,
            "libc does not tell where it makes streams' buffers");
  auto begin = reinterpret_cast<std::uintptr_t>(makes_buffers);
  libc_code = {begin, symbol->st_size};
  if (!streams_only) ::dl_iterate_phdr(note_segment, &begin);
}

}  // namespace dsm::preload
