# Rules of the code base as tests.

find_package(Python3 REQUIRED COMPONENTS Interpreter)
foreach(rule layers sizes)
  add_test(NAME rule_${rule} COMMAND ${Python3_EXECUTABLE} ${PROJECT_SOURCE_DIR}/scripts/${rule})
  set_tests_properties(rule_${rule} PROPERTIES LABELS rules)
endforeach()
