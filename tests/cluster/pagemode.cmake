dsm_program(pagemode_node SOURCES pagemode_node.cpp DEPENDS api)
dsm_test(pagemode_test
  SOURCES pagemode_test.cpp
  DEPENDS mem cluster base
  LINK launcher_run
  PROGRAMS dsmrun pagemode_node torture
  TIMEOUT 900
  LABELS cluster)
dsm_program(one_store_node SOURCES one_store_node.cpp DEPENDS api)
dsm_test(one_store_test
  SOURCES one_store_test.cpp
  DEPENDS mem cluster base
  LINK launcher_run
  PROGRAMS dsmrun one_store_node
  TIMEOUT 600
  LABELS cluster)
