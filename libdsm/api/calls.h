// Allocation for the C interface, whose functions stand between the program and the C++ ones: `call` is where the
// program's call returns to, which is the allocation's site.
#pragma once

#include <dsm/dsm.h>

#include <cstddef>

namespace dsm::api {

void* alloc_at(std::size_t bytes, std::size_t alignment, placement where, const void* call);
void* realloc_at(void* block, std::size_t bytes, const void* call);
void* alloc_collective_at(std::size_t bytes, placement where, const void* call);

}  // namespace dsm::api
