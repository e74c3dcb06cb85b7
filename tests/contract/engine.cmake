# One contract, three engines: every test runs once for each.
dsm_test(engine_contract_test
  SOURCES engine_conversion_test.cpp engine_emulation_test.cpp engine_faults_test.cpp engine_limits_test.cpp
          engine_permissions_test.cpp engine_probes_test.cpp engine_program_signals_test.cpp
  DEPENDS mem base
  LABELS contract)

# Not a test: what a fault costs with each engine, beside a bare loop of the same requests.
dsm_program(engine_cost SOURCES engine_cost.cpp DEPENDS mem base)
