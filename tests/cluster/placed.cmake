dsm_program(placed_node SOURCES placed_node.cpp DEPENDS placed)
dsm_program(placed_calls_node SOURCES placed_calls_node.cpp DEPENDS placed)
dsm_program(placed_work_node SOURCES placed_work_node.cpp DEPENDS placed)
dsm_program(placed_containers_node SOURCES placed_containers_node.cpp DEPENDS placed)
dsm_program(placed_misuse SOURCES placed_misuse.cpp DEPENDS placed)
dsm_test(placed_test
  SOURCES placed_test.cpp
  DEPENDS mem cluster base
  LINK launcher_run
  PROGRAMS dsmrun placed_node placed_calls_node placed_work_node placed_containers_node placed_misuse hints_node
  TIMEOUT 900
  LABELS cluster)

# What the compiler has to refuse, and what it says.
set(refusals "" "cannot be a result" "cannot be a result" "cannot be sent" "a pointer to a member function is an address"
    "a pointer to a member function is an address" "elements are copied as bytes, which mean the same" "captures would be pointers into" "it cannot be in a dsm::atomic")
foreach(number RANGE 8)
  add_test(NAME placed_refused_${number}
           COMMAND ${CMAKE_CXX_COMPILER} -std=c++20 -fsyntax-only -I ${PROJECT_SOURCE_DIR}/libdsm/include
                   -DREFUSED=${number} ${CMAKE_CURRENT_SOURCE_DIR}/placed_refused.cpp)
  list(GET refusals ${number} refusal)
  set_tests_properties(placed_refused_${number} PROPERTIES LABELS cluster PASS_REGULAR_EXPRESSION "${refusal}")
endforeach()
set_tests_properties(placed_refused_0 PROPERTIES PASS_REGULAR_EXPRESSION "" FAIL_REGULAR_EXPRESSION "error")
