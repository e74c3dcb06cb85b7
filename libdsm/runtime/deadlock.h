// Borrows that wait for each other in a circle. A thread that has waited long follows the chain itself, by requests:
// who holds the object, and what does that thread wait for? If the chain comes back to the thread, twice alike, every
// node on it says what its thread holds and wants, and the program ends.
#pragma once

#include <cstdint>

namespace dsm::runtime {

struct Node;

// A thread that waits so long for an object looks whether it waits for itself.
inline constexpr std::int64_t kSuspiciousNs = 1'000'000'000;

// ... and after so long it has the holder's node say who has the object.
inline constexpr std::int64_t kLongNs = 10'000'000'000;

// The calling thread waits for the object. Returns if it is no deadlock, as far as can be seen now.
void find_deadlock(Node& node, std::uint64_t address);
void tell_holder(Node& node, std::uint64_t address);
void serve_deadlock_search(Node& node);

}  // namespace dsm::runtime
