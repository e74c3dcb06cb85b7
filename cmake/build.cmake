# How everything is compiled: the compiler cache, the sanitizers.

set(DSM_SANITIZE "" CACHE STRING "sanitizers for everything: \"address,undefined\", \"thread\", or empty")

find_program(DSM_CCACHE NAMES ccache DOC "compiler cache; optional")
if(DSM_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_C_COMPILER_LAUNCHER ${DSM_CCACHE})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${DSM_CCACHE})
endif()

# What a test's environment needs under the sanitizers.
set(DSM_TEST_ENVIRONMENT "")
if(DSM_SANITIZE)
  add_compile_options(-fsanitize=${DSM_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${DSM_SANITIZE})
  list(APPEND DSM_TEST_ENVIRONMENT UBSAN_OPTIONS=print_stacktrace=1)
endif()
if(DSM_SANITIZE MATCHES "address")
  # Faults are ours to handle, and tests look at how a process dies of them.
  list(APPEND DSM_TEST_ENVIRONMENT ASAN_OPTIONS=detect_stack_use_after_return=0:handle_segv=0:handle_sigbus=0)
endif()
if(DSM_SANITIZE MATCHES "thread")
  # ThreadSanitizer's shadow leaves 1.5 TiB of addresses for all mappings: the global range is there, and small enough that
  # the nodes' views fit beside it. Its search for deadlocks knows 64 locks of a thread, and jemalloc takes more before a
  # fork; ours are futexes, which it does not see.
  set(options halt_on_error=1 detect_deadlocks=0 handle_segv=0 handle_sigbus=0 atexit_sleep_ms=0
      suppressions=${PROJECT_SOURCE_DIR}/cmake/tsan.supp)
  list(JOIN options ":" options)
  list(APPEND DSM_TEST_ENVIRONMENT DSM_BASE=0x7e8000000000 DSM_SLICE=8G DSM_INTERLEAVED=8G TSAN_OPTIONS=${options})
endif()
