// The end of a process whose memory can no longer be kept coherent: one clear line, then abort. For failures of the
// environment where no caller could go on (a permission that cannot be set). Safe in signal context.
#pragma once

#include <cstdint>

namespace dsm::mem {

// give_up("take a page away from the program", 0x200000000000, ENOMEM)
[[noreturn]] void give_up_sig(const char* what, std::uintptr_t address, int error);

}  // namespace dsm::mem
