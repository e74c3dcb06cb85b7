// Writes that are cut short go on, and those that have to wait wait.
#pragma once

#include <cstddef>

namespace dsm::cluster {

// False if it cannot go on, as when nobody reads there any more; errno says why.
bool write_all(int fd, const void* bytes, std::size_t count);

}  // namespace dsm::cluster
