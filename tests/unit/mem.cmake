dsm_test(emulated_access_test SOURCES emulated_access_test.cpp DEPENDS mem LABELS unit)
