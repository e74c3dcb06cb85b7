// The private jemalloc's interface: jemalloc's own header with every function `f` named `dsm_je_f`, flags (MALLOCX_*)
// and extent_hooks_t as they are. Link dsm_jemalloc. See cmake/jemalloc.cmake.
//
// Options (the manual's "TUNING"): define `extern "C" const char* dsm_je_malloc_conf = "...";` in one source file, or
// let it be. MALLOC_CONF and /etc/malloc.conf are not read.
#pragma once

#ifdef JEMALLOC_H_
#error "heap/jemalloc.h must not meet <jemalloc/jemalloc.h>: the same header under other names"
#endif

#define JEMALLOC_NO_RENAME
#define je_aligned_alloc dsm_je_aligned_alloc
#define je_calloc dsm_je_calloc
#define je_dallocx dsm_je_dallocx
#define je_free dsm_je_free
#define je_mallctl dsm_je_mallctl
#define je_mallctlbymib dsm_je_mallctlbymib
#define je_mallctlnametomib dsm_je_mallctlnametomib
#define je_malloc dsm_je_malloc
#define je_malloc_conf dsm_je_malloc_conf
#define je_malloc_conf_2_conf_harder dsm_je_malloc_conf_2_conf_harder
#define je_malloc_message dsm_je_malloc_message
#define je_malloc_stats_print dsm_je_malloc_stats_print
#define je_malloc_usable_size dsm_je_malloc_usable_size
#define je_mallocx dsm_je_mallocx
#define je_memalign dsm_je_memalign
#define je_nallocx dsm_je_nallocx
#define je_posix_memalign dsm_je_posix_memalign
#define je_rallocx dsm_je_rallocx
#define je_realloc dsm_je_realloc
#define je_sallocx dsm_je_sallocx
#define je_sdallocx dsm_je_sdallocx
#define je_valloc dsm_je_valloc
#define je_xallocx dsm_je_xallocx

#include <jemalloc/jemalloc.h>  // takes the je_ names back at its end

#undef je_memalign
#undef je_valloc
#undef JEMALLOC_NO_RENAME
