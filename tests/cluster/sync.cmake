dsm_program(sync_program SOURCES sync_program.cpp DEPENDS api)
dsm_program(sync_misuse SOURCES sync_misuse.cpp DEPENDS api)
dsm_program(capi_program SOURCES capi_program.c DEPENDS api)
dsm_test(sync_test
  SOURCES sync_test.cpp
  DEPENDS base
  LINK launcher_run
  PROGRAMS dsmrun sync_program sync_misuse
  LABELS cluster)
dsm_test(api_test
  SOURCES api_test.cpp
  DEPENDS api
  LINK launcher_run
  PROGRAMS dsmrun capi_program
  LABELS cluster)
