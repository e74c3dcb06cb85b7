# The tables of transitions are compared as text, with the simulator's words for states and actions.
dsm_test(proto_test SOURCES proto_eviction_test.cpp proto_rewrites_test.cpp proto_latch_test.cpp proto_page_test.cpp
                            proto_page_give_test.cpp proto_page_object_test.cpp proto_stream_test.cpp
                            proto_object_test.cpp proto_object_queue_test.cpp proto_life_test.cpp
         DEPENDS sim proto base LABELS unit)
