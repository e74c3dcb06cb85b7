# A further transport adds its world to transport_worlds.cpp and runs the whole suite.
dsm_test(transport_contract_test
         SOURCES transport_worlds.cpp transport_nodes.cpp transport_operations_test.cpp transport_messages_test.cpp
                 transport_waiting_test.cpp transport_signal_test.cpp transport_allocations.cpp
         DEPENDS net base LABELS contract)
dsm_test(transport_shm_test
         SOURCES transport_worlds.cpp transport_nodes.cpp transport_shm_set_up_test.cpp transport_shm_damage_test.cpp
                 transport_shm_network_test.cpp
         DEPENDS net base LABELS contract)
