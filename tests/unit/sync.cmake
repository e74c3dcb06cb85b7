dsm_test(latch_lock_test SOURCES latch_lock_test.cpp DEPENDS runtime LABELS unit)
dsm_test(sync_objects_test SOURCES sync_objects_test.cpp DEPENDS sync LABELS unit)
