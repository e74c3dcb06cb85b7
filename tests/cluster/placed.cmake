dsm_program(placed_node SOURCES placed_node.cpp DEPENDS placed)
dsm_program(placed_calls_node SOURCES placed_calls_node.cpp DEPENDS placed)
dsm_program(placed_work_node SOURCES placed_work_node.cpp DEPENDS placed)
dsm_program(placed_containers_node SOURCES placed_containers_node.cpp DEPENDS placed)
dsm_program(placed_misuse SOURCES placed_misuse.cpp DEPENDS placed)
dsm_test(placed_test
  SOURCES placed_test.cpp launcher_run.cpp
  DEPENDS mem cluster base
  PROGRAMS dsmrun placed_node placed_calls_node placed_work_node placed_containers_node placed_misuse
  TIMEOUT 900
  LABELS cluster)
