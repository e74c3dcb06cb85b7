dsm_program(hints_node SOURCES hints_node.cpp DEPENDS hints)
dsm_program(hints_owned_node SOURCES hints_owned_node.cpp DEPENDS hints)
dsm_program(hints_group_node SOURCES hints_group_node.cpp DEPENDS hints)
dsm_program(hints_cache_node SOURCES hints_cache_node.cpp DEPENDS hints)
dsm_program(hints_habit_node SOURCES hints_habit_node.cpp DEPENDS hints)
dsm_program(hints_misuse SOURCES hints_misuse.cpp DEPENDS hints)
dsm_program(hints_c_misuse SOURCES hints_c_misuse.c DEPENDS hints)
dsm_program(hints_crosswise SOURCES hints_crosswise.cpp DEPENDS hints)
dsm_test(hints_test
  SOURCES hints_test.cpp hints_misuse_test.cpp
  DEPENDS mem cluster base
  LINK launcher_run
  PROGRAMS dsmrun hints_node hints_owned_node hints_group_node hints_cache_node hints_habit_node hints_misuse
           hints_c_misuse hints_crosswise
  TIMEOUT 900
  LABELS cluster)
