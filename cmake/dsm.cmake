# The kinds of target. A folder under libdsm/ is one layer and one target; who may depend on whom is checked by
# scripts/layers.

set(DSM_WARNINGS -Wall -Wextra -Wconversion -Werror)

# dsm_layer(name SOURCES ... DEPENDS layers... LINK libraries...)
function(dsm_layer name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPENDS;LINK" ${ARGN})
  add_library(dsm_${name} STATIC ${ARG_SOURCES})
  target_include_directories(dsm_${name} PUBLIC ${PROJECT_SOURCE_DIR}/libdsm ${PROJECT_SOURCE_DIR}/libdsm/include)
  target_compile_options(dsm_${name} PRIVATE ${DSM_WARNINGS})
  set_target_properties(dsm_${name} PROPERTIES POSITION_INDEPENDENT_CODE ON)
  list(TRANSFORM ARG_DEPENDS PREPEND dsm_)
  target_link_libraries(dsm_${name} PUBLIC ${ARG_DEPENDS} ${ARG_LINK})
  # For install.cmake, which bundles the layers.
  set_property(GLOBAL PROPERTY DSM_DEPENDS_dsm_${name} "${ARG_DEPENDS}")
  set_property(GLOBAL PROPERTY DSM_LINK_dsm_${name} "${ARG_LINK}")
endfunction()

# What executables and what they share have in common.
function(dsm_set_up name)
  cmake_parse_arguments(ARG "" "" "DEPENDS;LINK" ${ARGN})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/libdsm ${PROJECT_SOURCE_DIR}/libdsm/include
                             ${PROJECT_SOURCE_DIR})
  target_compile_options(${name} PRIVATE ${DSM_WARNINGS})
  list(TRANSFORM ARG_DEPENDS PREPEND dsm_)
  target_link_libraries(${name} PRIVATE ${ARG_DEPENDS} ${ARG_LINK})
endfunction()

# An executable in build/<folder>.
function(dsm_executable name folder)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPENDS;LINK" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  dsm_set_up(${name} DEPENDS ${ARG_DEPENDS} LINK ${ARG_LINK})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/${folder})
endfunction()

# dsm_program(name SOURCES ... DEPENDS layers... LINK libraries...): an executable in build/bin
function(dsm_program name)
  dsm_executable(${name} bin ${ARGN})
endfunction()

# dsm_support(name SOURCES ... DEPENDS layers... LINK libraries...): what several of them share, compiled once. They LINK
# it.
function(dsm_support name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPENDS;LINK" ${ARGN})
  add_library(${name} OBJECT ${ARG_SOURCES})
  dsm_set_up(${name} DEPENDS ${ARG_DEPENDS} LINK ${ARG_LINK})
  target_compile_definitions(${name} PRIVATE DSM_BIN_DIR="${CMAKE_BINARY_DIR}/bin")
endfunction()

# A GoogleTest executable. What is its own is not worth the time to optimise it far; what it tests is, in the layers.
function(dsm_test_executable name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPENDS;LINK" ${ARGN})
  dsm_executable(${name} tests SOURCES ${ARG_SOURCES} DEPENDS ${ARG_DEPENDS} LINK ${ARG_LINK} GTest::gtest GTest::gtest_main)
  target_compile_options(${name} PRIVATE $<$<CONFIG:Release>:-O1>)
endfunction()

# dsm_test(name SOURCES ... DEPENDS layers... LABELS ... [PROGRAM targets the test starts]): one that ctest runs
function(dsm_test name)
  cmake_parse_arguments(ARG "" "TIMEOUT" "SOURCES;DEPENDS;LINK;LABELS;PROGRAMS" ${ARGN})
  dsm_test_executable(${name} SOURCES ${ARG_SOURCES} DEPENDS ${ARG_DEPENDS} LINK ${ARG_LINK})
  target_compile_definitions(${name} PRIVATE DSM_BIN_DIR="${CMAKE_BINARY_DIR}/bin")
  if(ARG_PROGRAMS)
    add_dependencies(${name} ${ARG_PROGRAMS})
  endif()
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 600)
  endif()
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES TIMEOUT ${ARG_TIMEOUT} LABELS "${ARG_LABELS}"
                                          ENVIRONMENT "${DSM_TEST_ENVIRONMENT}")
endfunction()

