// The parts of bench_delegate: each runs on every node of a job of its own; node 0 measures and reports.
#pragma once

#include "bench/micro/object_parts.h"

namespace dsm::bench {

void random_updates(ObjectContext&);  // part_delegate.cpp
void waiting_calls(ObjectContext&);
void contended(ObjectContext&);
void hand_over(ObjectContext&);

}  // namespace dsm::bench
