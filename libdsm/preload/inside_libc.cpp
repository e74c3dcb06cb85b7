#include "preload/inside_libc.h"

#include <dlfcn.h>
#include <link.h>

#include <cstdio>

#include "base/check.h"

namespace dsm::preload {

constinit AddressRange libc_code{};

namespace {

// The executable segment that holds the code at `inside`.
int note_segment(dl_phdr_info* object, std::size_t, void* inside) {
  for (int i = 0; i < object->dlpi_phnum; ++i) {
    const ElfW(Phdr)& part = object->dlpi_phdr[i];
    const AddressRange segment{object->dlpi_addr + part.p_vaddr, part.p_memsz};
    if (part.p_type != PT_LOAD || (part.p_flags & PF_X) == 0 || !segment.holds(inside)) continue;
    libc_code = segment;
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
  libc_code = {reinterpret_cast<std::uintptr_t>(makes_buffers), symbol->st_size};
  if (!streams_only) ::dl_iterate_phdr(note_segment, makes_buffers);
}

}  // namespace dsm::preload
