dsm_program(hints_node SOURCES hints_node.cpp DEPENDS hints)
