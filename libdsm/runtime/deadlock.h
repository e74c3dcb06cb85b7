// Threads that wait for each other in a circle, through borrows and through plain access inside borrows. A thread of
// each node that borrows looks at who waits here for long, and follows whom that waits for, from node to node. If that
// leads back to where it has been, and still does when it is looked at again, every node on the circle says what its
// threads have and want, and the program ends.
//
// 1. What it calls a circle is one: a thread that was in the same wait before and after somebody looked at whom it
// waits
//    for has changed nothing in between, and so have all others of the circle.
// 2. A circle is found within some two seconds, by each of its nodes; the lowest says it.
#pragma once

#include <cstdint>

namespace dsm::runtime {

struct Node;

// Who has waited so long may wait for itself ...
inline constexpr std::int64_t kSuspiciousNs = 1'000'000'000;
// ... and after so long whoever is waited for is named.
inline constexpr std::int64_t kLongNs = 10'000'000'000;

// Starts the thread "dsm-circles". Once, when the program begins to borrow.
void start_deadlock_search(Node& node);

}  // namespace dsm::runtime
