dsm_program(memory_program SOURCES memory_program.cpp DEPENDS api)
dsm_test(memory_test
  SOURCES memory_test.cpp
  DEPENDS mem cluster base
  LINK launcher_run nlohmann_json::nlohmann_json
  PROGRAMS dsmrun memory_program torture
  LABELS cluster)
