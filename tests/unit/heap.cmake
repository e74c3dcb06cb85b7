foreach(part apart blocks memory threads remote_frees)
  dsm_test(heap_${part}_test SOURCES heap_${part}_test.cpp DEPENDS heap base LABELS unit)
endforeach()
