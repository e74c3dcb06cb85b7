dsm_program(insight_program SOURCES insight_program.cpp DEPENDS api)
target_compile_options(insight_program PRIVATE -g1)
dsm_test(insight_test
  SOURCES insight_test.cpp
  DEPENDS cluster base
  LINK launcher_run nlohmann_json::nlohmann_json
  PROGRAMS dsmrun dsm-advise insight_program torture
  LABELS cluster)
dsm_program(sites_program SOURCES sites_program.cpp DEPENDS api)
dsm_test(sites_test
  SOURCES sites_test.cpp
  DEPENDS cluster base
  LINK launcher_run nlohmann_json::nlohmann_json
  PROGRAMS dsmrun sites_program torture
  LABELS cluster)
