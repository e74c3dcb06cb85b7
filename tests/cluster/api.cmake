dsm_program(api_misuse SOURCES api_misuse.cpp DEPENDS hints)
dsm_test(api_misuse_test
  SOURCES api_misuse_test.cpp
  DEPENDS cluster base
  LINK launcher_run
  PROGRAMS dsmrun api_misuse
  TIMEOUT 600
  LABELS cluster)
