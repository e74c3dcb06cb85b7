dsm_test(advise_classify_test SOURCES advise_classify_test.cpp DEPENDS advise LABELS unit)
dsm_test(advise_symbols_test SOURCES advise_symbols_test.cpp DEPENDS advise insight base LABELS unit)
dsm_test(advise_reports_test SOURCES advise_reports_test.cpp DEPENDS advise LABELS unit)
dsm_test(insight_rate_test SOURCES insight_rate_test.cpp DEPENDS insight base LABELS unit)
