dsm_program(hints_node SOURCES hints_node.cpp DEPENDS hints)
dsm_program(hints_owned_node SOURCES hints_owned_node.cpp DEPENDS hints)
dsm_test(hints_test
  SOURCES hints_test.cpp launcher_run.cpp
  DEPENDS mem cluster base
  PROGRAMS dsmrun hints_node hints_owned_node
  TIMEOUT 900
  LABELS cluster)
