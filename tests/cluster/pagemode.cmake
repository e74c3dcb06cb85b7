dsm_program(pagemode_node SOURCES pagemode_node.cpp DEPENDS api)
dsm_test(pagemode_test
  SOURCES pagemode_test.cpp
  DEPENDS mem cluster base
  LINK launcher_run
  PROGRAMS dsmrun pagemode_node torture
  TIMEOUT 900
  LABELS cluster)
