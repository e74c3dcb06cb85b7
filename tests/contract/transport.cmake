# A further transport adds its world to transport_kinds.cpp, or to a test of its own, and runs the whole suite.
dsm_support(transport_nodes SOURCES transport_nodes.cpp DEPENDS net base LINK GTest::gtest)
dsm_support(transport_worlds SOURCES transport_worlds.cpp DEPENDS net base LINK GTest::gtest)
dsm_support(transport_suite
            SOURCES transport_operations_test.cpp transport_messages_test.cpp transport_waiting_test.cpp
                    transport_signal_test.cpp transport_allocations.cpp
            DEPENDS net base LINK GTest::gtest)
dsm_test(transport_contract_test
         SOURCES transport_kinds.cpp
         DEPENDS net base
         LINK transport_nodes transport_suite transport_worlds
         LABELS contract)
dsm_test(transport_shm_test
         SOURCES transport_shm_set_up_test.cpp transport_shm_damage_test.cpp transport_shm_network_test.cpp
         DEPENDS net base
         LINK transport_nodes transport_worlds
         LABELS contract)
# Needs an RDMA device; scripts/rdma-vm gives it soft-RoCE where there is none.
dsm_test_executable(transport_verbs_test SOURCES transport_verbs_world.cpp transport_verbs_test.cpp
              DEPENDS net base
              LINK transport_nodes transport_suite)
