# Rules of the code base as tests.

find_package(Python3 REQUIRED COMPONENTS Interpreter)
foreach(rule layers sizes)
  add_test(NAME rule_${rule} COMMAND ${Python3_EXECUTABLE} ${PROJECT_SOURCE_DIR}/scripts/${rule})
  set_tests_properties(rule_${rule} PROPERTIES LABELS rules)
endforeach()

# Who starts something wrong is told how: everything a user may start knows --help.
file(GLOB scripts LIST_DIRECTORIES false ${PROJECT_SOURCE_DIR}/scripts/*)
list(FILTER scripts EXCLUDE REGEX "\\.txt$")
add_test(NAME rule_help COMMAND ${PROJECT_SOURCE_DIR}/tests/help ${CMAKE_BINARY_DIR}/bin ${scripts})
set_tests_properties(rule_help PROPERTIES LABELS rules)
