// Asks the scheduler to let this thread in soon after it wakes up.
#pragma once

namespace dsm {

// Gives the calling thread the shortest time slice there is (Linux 6.12; before that, or with another policy than the
// default one, nothing changes). A thread that waits for other nodes sleeps and wakes often; with a common slice it may
// wait 4 ms behind a thread that computes. Its share of the CPU stays the same. Once per thread; safe in signal
// context.
void prefer_latency();

// Lets the calling thread run as soon as it is runnable, before any thread of the default policy (SCHED_RR, the lowest
// real-time priority). For threads that run for microseconds and then sleep. False where that is not permitted
// (it takes CAP_SYS_NICE or RLIMIT_RTPRIO): nothing has changed then.
bool become_urgent();

}  // namespace dsm
