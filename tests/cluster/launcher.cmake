dsm_support(launcher_run SOURCES launcher_run.cpp DEPENDS base LINK GTest::gtest)
dsm_program(launcher_node SOURCES launcher_node.cpp DEPENDS cluster base)
dsm_test(launcher_test
  SOURCES launcher_death_test.cpp launcher_exchange_test.cpp launcher_exit_test.cpp launcher_join_test.cpp
          launcher_output_test.cpp launcher_stat_test.cpp launcher_top_test.cpp
  DEPENDS cluster base
  LINK launcher_run nlohmann_json::nlohmann_json util
  PROGRAMS dsmrun dsmstat launcher_node
  LABELS cluster)
