# A further transport adds its world to transport_kinds.cpp, or to a test of its own, and runs the whole suite.
set(transport_suite transport_nodes.cpp transport_operations_test.cpp transport_messages_test.cpp
                    transport_waiting_test.cpp transport_signal_test.cpp transport_allocations.cpp)
dsm_test(transport_contract_test SOURCES transport_worlds.cpp transport_kinds.cpp ${transport_suite}
         DEPENDS net base LABELS contract)
dsm_test(transport_shm_test
         SOURCES transport_worlds.cpp transport_nodes.cpp transport_shm_set_up_test.cpp transport_shm_damage_test.cpp
                 transport_shm_network_test.cpp
         DEPENDS net base LABELS contract)
# Needs an RDMA device; scripts/rdma-vm gives it soft-RoCE where there is none.
dsm_rdma_test(transport_verbs_test SOURCES transport_verbs_world.cpp transport_verbs_test.cpp ${transport_suite}
              DEPENDS net base)
