// Keeps the birth of jemalloc's arenas and fork() apart. jemalloc (5.3.0) counts its arenas, then takes their locks for
// the fork, and counts them anew to give them back: the locks of one that was born in between are given back without
// having been taken, and two threads are in it. All arenas of ours are born in ChunkArena::open().
#pragma once

namespace dsm::heap {

// Registers fork handlers, once. They have to come behind jemalloc's, so that they run before those at a fork.
void keep_births_from_forks();

// As long as it lives this thread may make an arena.
class ArenaBirth {
 public:
  ArenaBirth();
  ~ArenaBirth();
  ArenaBirth(const ArenaBirth&) = delete;
  ArenaBirth& operator=(const ArenaBirth&) = delete;

 private:
  bool locked_;
};

// What the handlers do; for tests.
void stop_births();
void allow_births();

}  // namespace dsm::heap
