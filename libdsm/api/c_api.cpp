// <dsm/dsm_c.h>: the C++ calls by other names.
#include <dsm/dsm.h>
#include <dsm/dsm_c.h>

#include <cerrno>

#include "api/calls.h"

namespace {

// A number that is neither a node's nor one of the two constants becomes a node that does not exist.
dsm::placement place_of(int place) {
  if (place == DSM_PLACE_LOCAL) return dsm::local;
  if (place == DSM_PLACE_INTERLEAVED) return dsm::interleaved;
  return dsm::on_node(static_cast<unsigned>(place));
}

dsm::mutex* cpp(dsm_mutex* mutex) { return reinterpret_cast<dsm::mutex*>(mutex); }
dsm::barrier* cpp(dsm_barrier* barrier) { return reinterpret_cast<dsm::barrier*>(barrier); }

}  // namespace

extern "C" {

int dsm_start(void) { return dsm::start().value(); }
void dsm_finish(void) { dsm::finish(); }
unsigned dsm_node(void) { return dsm::node(); }
unsigned dsm_nodes(void) { return dsm::nodes(); }

void* dsm_alloc(size_t bytes, size_t alignment, int place) {
  return dsm::api::alloc_at(bytes, alignment, place_of(place), __builtin_return_address(0));
}
void dsm_free(void* block) { dsm::free(block); }
void* dsm_realloc(void* block, size_t bytes) { return dsm::api::realloc_at(block, bytes, __builtin_return_address(0)); }
size_t dsm_usable_size(const void* block) { return dsm::usable_size(block); }
unsigned dsm_home(const void* address) { return dsm::home(address); }
void* dsm_alloc_collective(size_t bytes, int place) {
  return dsm::api::alloc_collective_at(bytes, place_of(place), __builtin_return_address(0));
}

int dsm_publish(const char* name, void* pointer) {
  return name == nullptr ? EINVAL : dsm::publish(name, pointer).value();
}

void* dsm_lookup(const char* name, int64_t timeout_ms) {
  return name == nullptr ? nullptr : dsm::lookup(name, std::chrono::milliseconds{timeout_ms});
}

int dsm_prefetch(const void* address, size_t bytes, int access) {
  if (access != DSM_READ && access != DSM_WRITE) return EINVAL;
  return dsm::prefetch(address, bytes, access == DSM_WRITE ? dsm::access::write : dsm::access::read).value();
}

int dsm_release_pages(const void* address, size_t bytes) { return dsm::release(address, bytes).value(); }

int dsm_transfer_pages(const void* address, size_t bytes, unsigned node) {
  return dsm::transfer(address, bytes, node).value();
}

dsm_mutex* dsm_mutex_create(void) { return reinterpret_cast<dsm_mutex*>(dsm::make<dsm::mutex>()); }
void dsm_mutex_destroy(dsm_mutex* mutex) { dsm::destroy(cpp(mutex)); }
void dsm_mutex_lock(dsm_mutex* mutex) { cpp(mutex)->lock(); }
int dsm_mutex_trylock(dsm_mutex* mutex) { return cpp(mutex)->try_lock() ? 1 : 0; }
void dsm_mutex_unlock(dsm_mutex* mutex) { cpp(mutex)->unlock(); }

dsm_barrier* dsm_barrier_create(size_t parties) {
  return reinterpret_cast<dsm_barrier*>(dsm::make<dsm::barrier>(parties));
}
void dsm_barrier_destroy(dsm_barrier* barrier) { dsm::destroy(cpp(barrier)); }
void dsm_barrier_wait(dsm_barrier* barrier) { cpp(barrier)->arrive_and_wait(); }

}  // extern "C"
