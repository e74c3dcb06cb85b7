dsm_test(base_config_test SOURCES base_config_test.cpp DEPENDS base LABELS unit)
dsm_test(base_lines_test SOURCES base_lines_test.cpp DEPENDS base LABELS unit)
dsm_test(base_numbers_test SOURCES base_numbers_test.cpp DEPENDS base LABELS unit)
dsm_test(base_threads_test SOURCES base_threads_test.cpp DEPENDS base LABELS unit)

dsm_test(base_jemalloc_test SOURCES base_jemalloc_test.cpp DEPENDS jemalloc LABELS unit)
add_test(NAME base_jemalloc_symbols
         COMMAND ${CMAKE_COMMAND} -D NM=${DSM_BINUTILS_nm} -D ARCHIVE=$<TARGET_FILE:dsm_jemalloc>
                 -P ${PROJECT_SOURCE_DIR}/cmake/jemalloc_symbols_test.cmake)
set_tests_properties(base_jemalloc_symbols PROPERTIES LABELS unit)
