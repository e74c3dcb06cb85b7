/* The latch protocol of one page, as libdsm/README.md and the heads of libdsm/proto/latch.h and page.h describe it, in
 * Promela; written apart from the code. Node 0 is the page's home.
 *
 *   -DN=2|3          nodes                    -DREQS=k    accesses a thread makes; 0: without end
 *   -DKINDS=bits     which accesses: 2 reads, 4 writes, 8 object work; 14: all
 *   -DCOARSE=1       a chain is one step at the home, not one for each operation
 *   -DHINTS=1        the threads release, keep reading and clean too
 *   -DAHEAD=k        each node asks ahead of need so often: for reading or writing, as its accesses may be; with REQS=0
 *                    without end
 *   -DTOUCH=bits     these nodes' threads touch the page plainly inside borrows of it, too (two that do so at once wait
 *                    for each other in a circle, which ends the program)
 *   -DLIVE=k         the claim is: whenever node k's thread waits, it is served at last (weak fairness, REQS=0)
 *
 * A node has four processes: its thread, its chain in flight, its mail, and the watch for the end of a use. An event is
 * one step; each operation of a chain is one step at the home. Safety, checked after every step:
 *   one writer or many readers or object work; the latch word backs every access; what is read is what was last
 *   written; nobody has plain access while another node's borrow is open; bits of the waiters word are added and taken
 *   exactly; no thread sleeps for ever (REQS > 0: invalid end).
 * In a simulation (spin -T) each step prints itself, what it made of its node, and the home's words: replay.cpp follows.
 */
#ifndef N
#define N 2
#endif
#ifndef REQS
#define REQS 2
#endif
#ifndef REQS0
#define REQS0 REQS /* of node 0, if not as many */
#endif
#ifndef KINDS
#define KINDS 14
#endif
#ifndef KINDS0
#define KINDS0 KINDS /* of node 0, if others */
#endif
#define MAY(n, what) HAS(((n) == 0 -> KINDS0 : KINDS), what)
#ifndef COARSE
#define COARSE 0
#endif
#ifndef ROOMS
#define ROOMS 2 /* of a channel; who finds it full waits */
#endif
#ifndef HINTS
#define HINTS 0
#endif
#ifndef AHEAD
#define AHEAD 0
#endif
#ifndef TOUCH
#define TOUCH 0
#endif
#define HOME 0
#define NOBODY 3

/* access */
#define NONE 0
#define READ 1
#define WRITE 2
#define OBJECT 3
#define ALLOWS(have, asked) ((have) == (asked) || (asked) == NONE || ((have) == WRITE && (asked) == READ))
#define EXCLUDE(a, b) ((a) != NONE && (b) != NONE && (((a) == OBJECT) != ((b) == OBJECT)))

/* the latch word: member plain << 9 | owner borrows << 8 | set << 5 | finish << 4 | owner << 2 | mode */
#define EXCL 0
#define SHARED 1
#define OBJECTS 2
#define MODE(w) ((w) & 3)
#define OWNER(w) (((w) >> 2) & 3)
#define FINISH(w) (((w) >> 4) & 1)
#define SET(w) (((w) >> 5) & 7)
#define OWNER_BORROWS 256
#define MEMBER_PLAIN 512
#define IS_MEMBERS(w) (((w) & (MEMBER_PLAIN | 16)) == MEMBER_PLAIN)
#define EXCLUSIVE_WORD(owner, set, finish) (((set) << 5) | ((finish) << 4) | ((owner) << 2))
#define SHARED_WORD(set) (((set) << 5) | SHARED)
#define OBJECT_WORD(set) (((set) << 5) | OBJECTS)
#define FREE SHARED_WORD(0)
#define BIT(n) (1 << (n))
#define HAS(set, n) (((set) >> (n)) & 1)
#define LESS(set, other) ((set) & (7 ^ (other)))
#define OWNED_BY(w, n) (MODE(w) == EXCL && OWNER(w) == (n))
#define HELD_BY(w, n) (OWNED_BY(w, n) || HAS(SET(w), n))
#define AT_WORK(w) (MODE(w) == OBJECTS || FINISH(w))
#define ONE_BIT(s) ((s) == 1 || (s) == 2 || (s) == 4)
#define NEXT(s, n) (HAS(s, ((n) + 1) % 3) -> ((n) + 1) % 3 : (HAS(s, ((n) + 2) % 3) -> ((n) + 2) % 3 : (HAS(s, n) -> (n) : NOBODY)))
#define LEFT_BY(w, n) \
  (LESS(SET(w), BIT(n)) != 0 -> ((w) & ~(BIT(n) << 5)) : (MODE(w) == OBJECTS -> FREE : ((w) & ~(BIT(n) << 5) & ~(16 | OWNER_BORROWS | MEMBER_PLAIN))))

/* phases */
#define IDLE 0
#define CLAIMING 1
#define ENLISTING 2
#define WAITING 3
#define LOOKING 4
#define YIELDING 5
#define DROPPING 6
#define BUSY(n) (phase[n] != IDLE && phase[n] != WAITING)

/* messages */
#define NUDGE 0
#define DROP 1
#define LOOK 2
chan mail[9] = [ROOMS] of {byte, byte, byte, byte}; /* kind, want, readers, borrowers; from * 3 + to */

/* at the home, and which copies are as last written (the home's memory is node 0's) */
short word = EXCLUSIVE_WORD(HOME, 0, 0);
byte waiters = 0;
byte current = 1;

/* a node's knowledge of the page */
byte access[N], want[N], asked[N], phase[N], readers[N], borrowers[N];
short seen[N];
bool fresh[N], look_asked[N], enlisted[N], fetched[N], reading[N], joined[N], migratory[N], keeps[N];
#if AHEAD
bool ahead[N]; /* want is for an access that may never come */
#define IS_AHEAD(n) ahead[n]
#define NOT_AHEAD(n) ahead[n] = false
#else
#define IS_AHEAD(n) false
#define NOT_AHEAD(n) skip
#endif

/* its chain in flight: what is left to do, what was found */
#define C_ADD 1
#define C_SWAP 2
#define C_LATCH 4
#define C_PAGE 8
#define C_DONE 16
byte chain[N], add[N], take[N], latch_waiters[N];
short expected[N], desired[N], old[N], latch_word[N];
bool write_home[N], leave[N]; /* leave: an addition that nobody waits for */
byte clean[N]; /* a page on its way home that nobody waits for; 2: there has been a store meanwhile */

/* its thread */
#define CHOOSING 0
#define TRYING 1
#define SLEEPING 2
#define QUEUEING 3
#define BORROWING 4
#define KEEPING 5 /* has touched the page inside its borrow */
byte thread[N], needs[N];
bool faulted[N], owed[N], use_awaited[N], closed[N];
bool inside[N], touched[N]; /* its borrow is open while the page is not here for it, or about not to be */
#if REQS > 0
byte more[N];
#endif

/* of the step being made */
hidden byte act, act_access, waiting, others, next_node, alike, served, tell, set, theirs;
hidden short act_word, from_word, to_word;
hidden byte to, kind, says_want, says_readers, says_borrowers, map_to, beside_us;
hidden byte looked, lower, unmap, upgrade, reopen, wake, await_use, keep, objects;
#define A_NOTHING 0
#define A_DECIDE 1
#define A_CLAIM 2
#define A_GRANT 3
#define A_DROP 4
#define A_YIELD 5
#define A_BEGIN 6
#define A_JOIN 7
#define A_ENLIST 8
#define A_HAND_OVER 9
#define A_LOOK 10
#define A_GO_FIRST 11
#define A_RESUME 12

#define NEEDS_BYTES(n) ((n) != HOME && want[n] != OBJECT && access[n] == NONE && !fetched[n])
#define CHANGES_KIND(n) EXCLUDE(access[n], want[n])
#define OWNS(n) (seen[n] == EXCLUSIVE_WORD(n, 0, 0))

inline rest(n) { phase[n] = (want[n] == NONE -> IDLE : WAITING) }
inline leave_waiters(n) { leave[n] = true; enlisted[n] = false }
inline send_to(the_kind, whom) {
  if
  :: (whom) != 0 -> assert(to == 0); to = whom; kind = the_kind
  :: else
  fi
}
inline tell_whom_we_know(n) {
  says_readers = readers[n]; says_borrowers = borrowers[n];
  readers[n] = 0; borrowers[n] = 0
}
inline take_away(n) {
  unmap = (access[n] != NONE);
  access[n] = NONE; fresh[n] = false; fetched[n] = false; joined[n] = false
}
inline swap(n, from, into, the_phase) {
  chain[n] = C_SWAP | C_DONE; expected[n] = from; desired[n] = into; phase[n] = the_phase
}
inline claim_word(n, from, what) { /* -> to_word */
  others = LESS(SET(from), BIT(n));
  if
  :: (others == 0 || (MODE(from) == OBJECTS) == ((what) == OBJECT)) && (what) == READ -> to_word = SHARED_WORD(others | BIT(n))
  :: (others == 0 || (MODE(from) == OBJECTS) == ((what) == OBJECT)) && (what) == OBJECT -> to_word = OBJECT_WORD(others | BIT(n))
  :: else ->
    to_word = EXCLUSIVE_WORD(n, others, (MODE(from) == OBJECTS && others != 0 -> 1 : 0));
    to_word = to_word | (FINISH(to_word) && keeps[n] -> OWNER_BORROWS : 0)
  fi
}

/* what is asked ahead does not make object work end; who is enlisted goes on, the page may be his already */
#define GIVES_UP(n, objects) (IS_AHEAD(n) && !enlisted[n] && (objects))
inline give_up(n) { fetched[n] = false; want[n] = NONE; NOT_AHEAD(n); rest(n) }

/* given the word as last seen, what does the node do? */
inline decide(n) {
  seen[n] = act_word;
  act = A_NOTHING;
  theirs = (AT_WORK(act_word) -> OBJECT : (IS_MEMBERS(act_word) -> WRITE : READ));
  if
  :: OWNED_BY(act_word, n) ->
    if
    :: SET(act_word) != 0 && want[n] == theirs && theirs != WRITE -> act = A_JOIN
    :: SET(act_word) != 0 && !(want[n] == theirs && theirs != WRITE) -> phase[n] = WAITING
    :: SET(act_word) == 0 && want[n] == OBJECT && !(CHANGES_KIND(n) && fresh[n]) ->
      act = (CHANGES_KIND(n) && waiting != 0 && !keeps[n] -> A_YIELD : A_BEGIN)
    :: SET(act_word) == 0 && want[n] != OBJECT && want[n] != NONE && !CHANGES_KIND(n) ->
      if
      :: NEEDS_BYTES(n) -> act = A_LOOK
      :: else ->
        look_asked[n] = look_asked[n] || waiting != 0;
        act = A_GRANT; act_access = want[n]
      fi
    :: else ->
      rest(n);
      if
      :: fresh[n] -> look_asked[n] = true
      :: else -> act = A_YIELD
      fi
    fi
  :: !OWNED_BY(act_word, n) && HAS(SET(act_word), n) ->
    if
    :: want[n] == theirs && access[n] == NONE ->
      if
      :: NEEDS_BYTES(n) -> act = A_LOOK
      :: else ->
        look_asked[n] = look_asked[n] || MODE(act_word) == EXCL;
        act = A_GRANT; act_access = theirs
      fi
    :: !(want[n] == theirs && access[n] == NONE) && fresh[n] && (MODE(act_word) == EXCL || CHANGES_KIND(n)) ->
      look_asked[n] = true;
      rest(n)
    :: else ->
      if
      :: MODE(act_word) == EXCL && keeps[n] && want[n] == WRITE -> act = A_GO_FIRST
      :: IS_MEMBERS(act_word) && keeps[n] && want[n] == OBJECT -> act = A_RESUME
      :: MODE(act_word) == EXCL && !(keeps[n] && (want[n] == WRITE || (IS_MEMBERS(act_word) && want[n] == OBJECT))) ->
        act = A_DROP; from_word = act_word
      :: MODE(act_word) != EXCL && want[n] != NONE -> act = A_CLAIM; from_word = act_word
      :: else ->
        if
        :: access[n] == OBJECT && !fresh[n] -> reopen = true; fresh[n] = true
        :: else
        fi;
        rest(n)
      fi
    fi
  :: else ->
    assert(access[n] == NONE);
    fetched[n] = false; readers[n] = 0; borrowers[n] = 0;
    if
    :: want[n] == NONE -> rest(n)
    :: want[n] != NONE && MODE(act_word) != EXCL -> act = A_CLAIM; from_word = act_word
    :: want[n] != NONE && MODE(act_word) == EXCL && GIVES_UP(n, AT_WORK(act_word)) -> give_up(n)
    :: else -> act = A_ENLIST
    fi
  fi
}

inline claim(n) {
  assert(MODE(from_word) != EXCL);
  claim_word(n, from_word, want[n]);
  if
  :: GIVES_UP(n, MODE(from_word) == OBJECTS) && MODE(to_word) == EXCL && SET(to_word) != 0 -> give_up(n)
  :: else ->
    if
    :: CHANGES_KIND(n) -> take_away(n)
    :: else
    fi;
    asked[n] = want[n]; seen[n] = from_word;
    swap(n, from_word, to_word, CLAIMING);
    if
    :: NEEDS_BYTES(n) && !AT_WORK(to_word) -> chain[n] = chain[n] | C_PAGE
    :: else
    fi
  fi
}
inline grant(n) {
  if
  :: enlisted[n] -> leave_waiters(n)
  :: else
  fi;
  migratory[n] = migratory[n] && access[n] == READ && act_access == WRITE;
  if
  :: access[n] == NONE -> map_to = act_access
  :: access[n] != NONE && !ALLOWS(access[n], act_access) -> upgrade = true
  :: else
  fi;
  joined[n] = (act_access == READ);
  keeps[n] = keeps[n] && act_access == WRITE;
  access[n] = act_access; fetched[n] = false; want[n] = NONE; wake = true;
  fresh[n] = fresh[n] || !IS_AHEAD(n) || act_access == OBJECT; NOT_AHEAD(n);
  phase[n] = IDLE
}
inline hand_over(n) { /* to_word, served */
  keep = (MODE(to_word) == SHARED && HAS(SET(to_word), n));
  write_home[n] = (access[n] == WRITE && n != HOME);
  lower = keep && access[n] == WRITE;
  unmap = !keep && access[n] != NONE;
  access[n] = (keep -> READ : NONE);
  fresh[n] = false; fetched[n] = false; joined[n] = false;
  readers[n] = LESS(readers[n], served); borrowers[n] = LESS(borrowers[n], served);
  swap(n, EXCLUSIVE_WORD(n, 0, 0), to_word, YIELDING);
  chain[n] = chain[n] | C_ADD | C_LATCH; take[n] = served;
  seen[n] = to_word
}
/* all who want what the next one wants come in together, and the next of the others is put behind them */
inline yield_page(n) { /* waiting -> A_HAND_OVER, or nothing */
  act = A_NOTHING;
  next_node = NEXT(waiting, n);
  if
  :: next_node != NOBODY ->
    act = A_HAND_OVER;
    objects = HAS(borrowers[n], next_node);
    alike = waiting & (objects -> borrowers[n] : readers[n]);
    if
    :: !HAS(alike, next_node) -> to_word = EXCLUSIVE_WORD(next_node, 0, 0); served = BIT(next_node)
    :: else ->
      served = alike;
      if
      :: LESS(waiting, alike) != 0 ->
        next_node = NEXT(LESS(waiting, alike), n);
        to_word = EXCLUSIVE_WORD(next_node, alike, (objects -> 1 : 0)); served = served | BIT(next_node)
      :: LESS(waiting, alike) == 0 && objects -> to_word = OBJECT_WORD(alike)
      :: LESS(waiting, alike) == 0 && !objects && migratory[n] && access[n] == WRITE && alike == BIT(next_node) ->
        to_word = EXCLUSIVE_WORD(next_node, 0, 0)
      :: else -> to_word = SHARED_WORD(alike | (access[n] == NONE -> 0 : BIT(n)))
      fi
    fi
  :: else
  fi
}
inline begin_objects(n) {
  act = A_HAND_OVER;
  others = waiting & borrowers[n];
  next_node = NEXT(LESS(waiting, others), n);
  served = others;
  if
  :: next_node == NOBODY -> to_word = OBJECT_WORD(others | BIT(n))
  :: else -> to_word = EXCLUSIVE_WORD(next_node, others | BIT(n), 1); served = served | BIT(next_node)
  fi
}
/* owner of a page whose members still use it, who wants no more than they have: joins them and passes the turn on */
inline join_beside(n) {
  act = A_NOTHING;
  if
  :: !looked -> act = A_LOOK
  :: else ->
    served = LESS(waiting, SET(act_word));
    alike = served & (want[n] == READ -> readers[n] : borrowers[n]);
    next_node = NEXT(LESS(served, alike), n);
    set = SET(act_word) | alike | BIT(n);
    asked[n] = want[n]; seen[n] = act_word;
    if
    :: next_node != NOBODY -> to_word = EXCLUSIVE_WORD(next_node, set, FINISH(act_word))
    :: next_node == NOBODY && want[n] == READ -> to_word = SHARED_WORD(set)
    :: else -> to_word = OBJECT_WORD(set)
    fi;
    swap(n, act_word, to_word, CLAIMING);
    chain[n] = chain[n] | C_LATCH | (NEEDS_BYTES(n) -> C_PAGE : 0)
  fi
}
/* a member in whose page the node has borrows, and which it wants plainly for their sake: before the claimer, once it is
 * the last member, which who leaves tells it then; unless the claimer is in the same position */
inline go_first(n) {
  if
  :: CHANGES_KIND(n) -> take_away(n)
  :: else
  fi;
  seen[n] = act_word;
  if
  :: (act_word & OWNER_BORROWS) != 0 || (SET(act_word) != BIT(n) && (act_word & MEMBER_PLAIN) != 0) -> rest(n)
  :: else ->
    asked[n] = WRITE;
    to_word = (SET(act_word) == BIT(n) -> act_word & ~16 : act_word) | MEMBER_PLAIN;
    swap(n, act_word, to_word, CLAIMING);
    chain[n] = chain[n] | (SET(act_word) == BIT(n) && NEEDS_BYTES(n) -> C_PAGE : 0)
  fi
}
inline resume_objects(n) {
  swap(n, act_word, (act_word & ~MEMBER_PLAIN) | 16, CLAIMING);
  chain[n] = chain[n] | C_LATCH;
  if
  :: access[n] == WRITE && n != HOME -> write_home[n] = true; chain[n] = chain[n] | C_ADD
  :: else
  fi;
  take_away(n);
  asked[n] = want[n]; seen[n] = act_word
}
inline drop_page(n) { /* from_word */
  to_word = LEFT_BY(from_word, n);
  swap(n, from_word, to_word, DROPPING);
  if
  :: access[n] == WRITE && n != HOME -> write_home[n] = true; chain[n] = chain[n] | C_ADD
  :: else
  fi;
  take_away(n);
  seen[n] = from_word
}
inline look(n) {
  look_asked[n] = false;
  reading[n] = (want[n] != NONE && NEEDS_BYTES(n));
  chain[n] = C_LATCH | C_DONE | (reading[n] -> C_PAGE : 0);
  phase[n] = LOOKING
}

/* what act says; then a message that had to wait is followed */
inline perform(n) {
  if
  :: act == A_DECIDE -> decide(n)
  :: else
  fi;
  if
  :: act == A_YIELD -> yield_page(n)
  :: act == A_BEGIN -> begin_objects(n)
  :: act == A_JOIN -> join_beside(n)
  :: else
  fi;
  if
  :: act == A_CLAIM -> claim(n)
  :: act == A_GRANT -> grant(n)
  :: act == A_DROP -> drop_page(n)
  :: act == A_GO_FIRST -> go_first(n)
  :: act == A_RESUME -> resume_objects(n)
  :: act == A_HAND_OVER -> hand_over(n)
  :: act == A_LOOK -> look(n)
  :: act == A_ENLIST ->
    if
    :: !enlisted[n] -> chain[n] = C_ADD | C_LATCH | C_DONE; add[n] = BIT(n); phase[n] = ENLISTING
    :: else -> phase[n] = WAITING; send_to(NUDGE, BIT(OWNER(act_word))); says_want = want[n]
    fi
  :: else
  fi;
  if
  :: !BUSY(n) && look_asked[n] && fresh[n] -> await_use = true
  :: !BUSY(n) && look_asked[n] && !fresh[n] -> look(n)
  :: else
  fi
}

/* what the surroundings do with a step: the view, the waiting thread, the messages, and the checks */
inline somebody_waits(n) { /* -> keep */
  keep = ((thread[n] == TRYING || thread[n] == SLEEPING || thread[n] == QUEUEING) && faulted[n] && ALLOWS(access[n], needs[n]))
}
inline carry_out(n) {
  use_awaited[n] = fresh[n] && (use_awaited[n] || await_use);
  if
  :: reopen || lower || unmap -> closed[n] = false; thread[n] = (thread[n] == QUEUEING -> TRYING : thread[n])
  :: else
  fi;
  if
  :: access[n] == OBJECT && use_awaited[n] -> closed[n] = true
  :: else
  fi;
  somebody_waits(n);
  if
  :: (lower || unmap) && !keep -> owed[n] = false
  :: (map_to != NONE || upgrade) && keep -> owed[n] = true
  :: else
  fi;
  if
  :: wake && (thread[n] == SLEEPING || thread[n] == QUEUEING) -> thread[n] = TRYING
  :: else
  fi;
  if
  :: to != 0 ->
    if
    :: HAS(to, 0) -> mail[n * 3]!kind, says_want, says_readers, says_borrowers
    :: else
    fi;
    if
    :: HAS(to, 1) -> mail[n * 3 + 1]!kind, says_want, says_readers, says_borrowers
    :: else
    fi;
#if N > 2
    if
    :: HAS(to, 2) -> mail[n * 3 + 2]!kind, says_want, says_readers, says_borrowers
    :: else
    fi;
#endif
    printf("MSG %d %d %d %d %d %d\n", n, to, kind, says_want, says_readers, says_borrowers)
  :: else
  fi;
  assert(!(unmap || lower) || (thread[n] != BORROWING && thread[n] != KEEPING));
  check_accesses();
  tell_state(n);
  to = 0; says_want = 0; says_readers = 0; says_borrowers = 0; map_to = NONE; act = A_NOTHING; waiting = 0; looked = false;
  lower = false; unmap = false; upgrade = false; reopen = false; wake = false; await_use = false
}
inline tell_state(n) {
  printf("NODE %d %d %d %d %d %d %d %d %d %d %d %d %d\n", n, access[n], want[n], phase[n], fresh[n], look_asked[n], enlisted[n],
         fetched[n], migratory[n], keeps[n], seen[n], readers[n], borrowers[n])
}
#define BACKED(n) \
  (access[n] == NONE || (access[n] == WRITE && word == EXCLUSIVE_WORD(n, 0, 0)) || \
   (access[n] == WRITE && IS_MEMBERS(word) && SET(word) == BIT(n)) || \
   (access[n] == READ && HELD_BY(word, n) && !AT_WORK(word) && !IS_MEMBERS(word)) || (access[n] == OBJECT && HAS(SET(word), n) && AT_WORK(word)))
#define PLAIN(n) (access[n] == READ || access[n] == WRITE)
#define TOGETHER(a, b) \
  ((access[a] == NONE || access[b] == NONE || (access[a] == access[b] && access[a] != WRITE)) && \
   !(inside[a] && PLAIN(b)) && !(inside[b] && PLAIN(a)))
inline check_accesses() {
  assert(BACKED(0) && BACKED(1) && TOGETHER(0, 1));
#if N > 2
  assert(BACKED(2) && TOGETHER(0, 2) && TOGETHER(1, 2));
#endif
}

/* --- a chain has ended ------------------------------------------------------------------------------------------- */

inline claimed_as_member(n) {
  if
  :: asked[n] == WRITE && SET(old[n]) != BIT(n) -> seen[n] = old[n] | MEMBER_PLAIN; rest(n)
  :: asked[n] == WRITE && SET(old[n]) == BIT(n) ->
    look_asked[n] = true;
    seen[n] = (old[n] & ~16) | MEMBER_PLAIN; fetched[n] = true;
    act = A_GRANT; act_access = WRITE
  :: else ->
    look_asked[n] = true;
    seen[n] = (old[n] & ~MEMBER_PLAIN) | 16;
    tell = latch_waiters[n] | BIT(OWNER(old[n]));
    tell = LESS(tell, BIT(n));
    send_to(LOOK, tell);
    act = A_GRANT; act_access = OBJECT
  fi
}
inline claimed(n) {
  if
  :: old[n] != seen[n] ->
    act_word = old[n];
    act = (enlisted[n] && HELD_BY(old[n], n) -> A_LOOK : A_DECIDE)
  :: old[n] == seen[n] && MODE(old[n]) == EXCL && !OWNED_BY(old[n], n) -> claimed_as_member(n)
  :: old[n] == seen[n] && MODE(old[n]) == EXCL && OWNED_BY(old[n], n) -> /* joined beside others */
    fetched[n] = (asked[n] == READ);
    seen[n] = latch_word[n];
    tell = SET(latch_word[n]) | latch_waiters[n] | (MODE(latch_word[n]) == EXCL -> BIT(OWNER(latch_word[n])) : 0);
    tell = LESS(tell, BIT(n));
    send_to(LOOK, tell);
    tell_whom_we_know(n);
    look_asked[n] = look_asked[n] || MODE(latch_word[n]) == EXCL;
    act = A_GRANT; act_access = asked[n]
  :: else ->
    beside_us = LESS(SET(old[n]), BIT(n));
    migratory[n] = joined[n] && asked[n] == WRITE && access[n] == READ && ONE_BIT(beside_us);
    claim_word(n, old[n], asked[n]);
    seen[n] = to_word;
    fetched[n] = asked[n] != OBJECT && !AT_WORK(to_word);
    if
    :: enlisted[n] -> leave_waiters(n)
    :: else
    fi;
    if
    :: MODE(to_word) != EXCL -> act = A_GRANT; act_access = asked[n]
    :: MODE(to_word) == EXCL && SET(to_word) == 0 -> act = A_GRANT; act_access = WRITE
    :: else -> phase[n] = WAITING; send_to(DROP, SET(to_word))
    fi
  fi
}
inline observed(n) {
  looked = true;
  waiting = LESS(latch_waiters[n], BIT(n));
  enlisted[n] = HAS(latch_waiters[n], n);
  if
  :: enlisted[n] && HELD_BY(latch_word[n], n) -> leave_waiters(n)
  :: else
  fi;
  if
  :: phase[n] == LOOKING && reading[n] && HELD_BY(latch_word[n], n) && !AT_WORK(latch_word[n]) &&
     !(IS_MEMBERS(latch_word[n]) && OWNED_BY(latch_word[n], n)) -> fetched[n] = true
  :: else
  fi;
  reading[n] = false;
  act = A_DECIDE; act_word = latch_word[n]
}
inline yielded(n) {
  assert(old[n] == EXCLUSIVE_WORD(n, 0, 0));
  tell = SET(seen[n]) | (MODE(seen[n]) == EXCL -> BIT(OWNER(seen[n])) : 0);
  tell = tell | (MODE(seen[n]) != EXCL || FINISH(seen[n]) -> latch_waiters[n] : 0);
  tell = LESS(tell, BIT(n));
  send_to(LOOK, tell);
  tell_whom_we_know(n);
  act = A_DECIDE; act_word = seen[n]
}
inline dropped(n) {
  if
  :: old[n] != seen[n] -> assert(HAS(SET(old[n]), n)); act = A_DROP; from_word = old[n]
  :: else ->
    act = A_DECIDE; act_word = LEFT_BY(old[n], n);
    if
    :: MODE(act_word) == EXCL && SET(act_word) == 0 -> send_to(LOOK, BIT(OWNER(act_word)))
    :: (act_word & MEMBER_PLAIN) != 0 && ONE_BIT(SET(act_word)) -> send_to(LOOK, SET(act_word))
    :: else
    fi
  fi
}
inline chain_ends(n) {
  chain[n] = 0;
  if
  :: phase[n] == CLAIMING -> claimed(n)
  :: phase[n] == ENLISTING || phase[n] == LOOKING -> observed(n)
  :: phase[n] == YIELDING -> yielded(n)
  :: phase[n] == DROPPING -> dropped(n)
  :: else -> assert(false)
  fi;
  old[n] = 0; latch_word[n] = 0; latch_waiters[n] = 0
}

/* --- the processes ----------------------------------------------------------------------------------------------- */

#if N > 2
#define ROOM(n) (nfull(mail[(n) * 3]) && nfull(mail[(n) * 3 + 1]) && nfull(mail[(n) * 3 + 2]))
#else
#define ROOM(n) (nfull(mail[(n) * 3]) && nfull(mail[(n) * 3 + 1]))
#endif

/* operations at the home, first posted, first done; then the results */
inline op_leave(n) {
  leave[n] = false;
  assert(HAS(waiters, n));
  waiters = LESS(waiters, BIT(n));
  printf("LEAVE %d\nHOME %d %d\n", n, word, waiters)
}
inline op_clean(n) {
  current = LESS(current, 1) | (clean[n] == 1 && HAS(current, n) -> 1 : 0);
  clean[n] = 0;
  printf("CLEANED %d\nHOME %d %d\n", n, word, waiters)
}
inline op_add(n) {
  if
  :: write_home[n] -> current = LESS(current, 1) | HAS(current, n); write_home[n] = false
  :: else
  fi;
  assert((waiters & add[n]) == 0 && (waiters & take[n]) == take[n]);
  waiters = LESS(waiters, take[n]) | add[n];
  add[n] = 0; take[n] = 0;
  chain[n] = chain[n] & ~C_ADD;
  printf("ADD %d\nHOME %d %d\n", n, word, waiters)
}
inline op_swap(n) {
  old[n] = word;
  if
  :: word == expected[n] -> word = desired[n]; check_accesses()
  :: else
  fi;
  expected[n] = 0; desired[n] = 0;
  chain[n] = chain[n] & ~C_SWAP;
  printf("SWAP %d\nHOME %d %d\n", n, word, waiters)
}
inline op_latch(n) {
  latch_word[n] = word; latch_waiters[n] = waiters;
  chain[n] = chain[n] & ~C_LATCH;
  printf("LATCH %d\nHOME %d %d\n", n, word, waiters)
}
inline op_page(n) {
  current = LESS(current, BIT(n)) | ((current & 1) << n);
  chain[n] = chain[n] & ~C_PAGE;
  printf("PAGE %d\nHOME %d %d\n", n, word, waiters)
}
proctype Chain(byte n) {
end:
  do
#if COARSE
  :: d_step { clean[n] && chain[n] == 0 -> op_clean(n) }
  :: d_step { leave[n] && !clean[n] && chain[n] == 0 -> op_leave(n) }
  :: d_step { chain[n] > C_DONE ->
      if
      :: clean[n] -> op_clean(n)
      :: else
      fi;
      if
      :: leave[n] -> op_leave(n)
      :: else
      fi;
      if
      :: chain[n] & C_ADD -> op_add(n)
      :: else
      fi;
      if
      :: chain[n] & C_SWAP -> op_swap(n)
      :: else
      fi;
      if
      :: chain[n] & C_LATCH -> op_latch(n)
      :: else
      fi;
      if
      :: chain[n] & C_PAGE -> op_page(n)
      :: else
      fi }
#else
  :: d_step { clean[n] -> op_clean(n) }
  :: d_step { leave[n] && !clean[n] -> op_leave(n) }
  :: d_step { !clean[n] && !leave[n] && (chain[n] & C_ADD) -> op_add(n) }
  :: d_step { !clean[n] && !leave[n] && (chain[n] & (C_ADD | C_SWAP)) == C_SWAP -> op_swap(n) }
  :: d_step { !clean[n] && !leave[n] && (chain[n] & (C_ADD | C_SWAP | C_LATCH)) == C_LATCH -> op_latch(n) }
  :: d_step { !clean[n] && !leave[n] && (chain[n] & ~C_DONE) == C_PAGE -> op_page(n) }
#endif
  :: d_step { chain[n] == C_DONE && ROOM(n) ->
      printf("DONE %d\n", n);
      chain_ends(n);
      perform(n);
      carry_out(n) }
  od
}

proctype Mail(byte from; byte n) {
  byte m_kind, m_want, m_readers, m_borrowers;
end:
  do
  :: d_step { mail[from * 3 + n]?m_kind, m_want, m_readers, m_borrowers ->
      printf("MAIL %d %d %d %d %d %d\n", n, from, m_kind, m_want, m_readers, m_borrowers);
      if
      :: m_kind == NUDGE ->
        readers[n] = LESS(readers[n], BIT(from)) | (m_want == READ -> BIT(from) : 0);
        borrowers[n] = LESS(borrowers[n], BIT(from)) | (m_want == OBJECT -> BIT(from) : 0)
      :: else ->
        readers[n] = readers[n] | m_readers;
        borrowers[n] = borrowers[n] | LESS(m_borrowers, m_readers)
      fi;
      m_kind = 0; m_want = 0; m_readers = 0; m_borrowers = 0;
      look_asked[n] = true;
      perform(n);
      carry_out(n) }
  od
}

/* borrows that keep the page as it is: not one whose thread waits to touch it, nor one that needs it for objects again */
#define HELD(n) (thread[n] == BORROWING || thread[n] == KEEPING || (inside[n] && \
  (access[n] == OBJECT -> !(faulted[n] && want[n] == WRITE) : access[n] == WRITE && want[n] != OBJECT)))

proctype Use(byte n) {
end:
  do
  :: d_step { use_awaited[n] && !owed[n] && !HELD(n) ->
      printf("USED %d %d\n", n, inside[n]);
      use_awaited[n] = false; fresh[n] = false; keeps[n] = inside[n];
      perform(n);
      carry_out(n) }
  od
}

/* the page is there: the access runs */
inline run_access(n) {
  owed[n] = false;
  if
  :: needs[n] == OBJECT -> thread[n] = BORROWING; inside[n] = false
  :: else ->
    assert(HAS(current, n));
    current = (needs[n] == WRITE -> BIT(n) : current);
    clean[n] = (needs[n] == WRITE && clean[n] -> 2 : clean[n]);
    thread[n] = (inside[n] -> KEEPING : CHOOSING); needs[n] = NONE; faulted[n] = false
  fi
}
inline guess(n) { /* a request from rest: the page is as last seen, or free */
  if
  :: (OWNED_BY(seen[n], n) && seen[n] != 0) || (MODE(seen[n]) == EXCL && access[n] != NONE) -> act = A_LOOK
  :: !(OWNED_BY(seen[n], n) && seen[n] != 0) && MODE(seen[n]) == EXCL && access[n] == NONE -> act = A_CLAIM; from_word = FREE
  :: else -> act = A_CLAIM; from_word = (access[n] == NONE -> seen[n] & ~(BIT(n) << 5) : seen[n])
  fi
}
inline fault(n) {
  faulted[n] = true; thread[n] = SLEEPING;
  if
  :: EXCLUDE(want[n], needs[n]) && !IS_AHEAD(n)
  :: else ->
    want[n] = (ALLOWS(want[n], needs[n]) -> want[n] : needs[n]); NOT_AHEAD(n);
    if
    :: phase[n] != IDLE
    :: phase[n] == IDLE && CHANGES_KIND(n) -> phase[n] = WAITING; look_asked[n] = true
    :: phase[n] == IDLE && !CHANGES_KIND(n) && access[n] == READ && OWNS(n) ->
      migratory[n] = migratory[n] || joined[n]; act = A_GRANT; act_access = WRITE
    :: else -> guess(n)
    fi
  fi
}
#if AHEAD
#if REQS > 0
byte asks[N];
#define ASKS_LEFT(n) (asks[n] < AHEAD)
#define COUNT_ASK(n) asks[n]++
#else
#define ASKS_LEFT(n) (thread[n] == CHOOSING) /* else it might do nothing but ask, and never what it waits for */
#define COUNT_ASK(n) skip
#endif
#define MAY_ASK(n, what) \
  (ASKS_LEFT(n) && MAY(n, what) && phase[n] == IDLE && !ALLOWS(access[n], what) && access[n] != OBJECT && !keeps[n] && \
   !(access[n] == READ && OWNS(n)))
inline ask_ahead(n, what) {
  printf("AHEAD %d %d\n", n, what);
  COUNT_ASK(n);
  want[n] = what; ahead[n] = true;
  guess(n);
  perform(n);
  carry_out(n)
}
#endif
#define READY(n) (ALLOWS(access[n], needs[n]) && (needs[n] != OBJECT || (fresh[n] && (!closed[n] || inside[n] || (owed[n] && faulted[n])))))
#define ASKS_INSIDE(n) (inside[n] && thread[n] == SLEEPING && needs[n] == WRITE)

proctype Thread(byte n) {
#if REQS == 0
end:
#endif
  do
#if REQS > 0
  :: d_step { thread[n] == CHOOSING && more[n] > 0 && MAY(n, READ) -> more[n]--; thread[n] = TRYING; needs[n] = READ }
  :: d_step { thread[n] == CHOOSING && more[n] > 0 && MAY(n, WRITE) -> more[n]--; thread[n] = TRYING; needs[n] = WRITE }
  :: d_step { thread[n] == CHOOSING && more[n] > 0 && MAY(n, OBJECT) -> more[n]--; thread[n] = TRYING; needs[n] = OBJECT }
  :: thread[n] == CHOOSING && more[n] == 0 -> break
#else
  :: d_step { thread[n] == CHOOSING && MAY(n, READ) -> thread[n] = TRYING; needs[n] = READ }
  :: d_step { thread[n] == CHOOSING && MAY(n, WRITE) -> thread[n] = TRYING; needs[n] = WRITE }
  :: d_step { thread[n] == CHOOSING && MAY(n, OBJECT) -> thread[n] = TRYING; needs[n] = OBJECT }
#endif
  :: d_step { thread[n] == TRYING && READY(n) -> run_access(n) }
  :: d_step { thread[n] == TRYING && ALLOWS(access[n], needs[n]) && !READY(n) -> thread[n] = QUEUEING }
  :: d_step { thread[n] == TRYING && !ALLOWS(access[n], needs[n]) ->
      printf("FAULT %d %d\n", n, needs[n]);
      fault(n);
      perform(n);
      carry_out(n) }
  :: d_step { thread[n] == BORROWING -> thread[n] = CHOOSING; needs[n] = NONE; faulted[n] = false; touched[n] = false }
#if TOUCH
  :: d_step { thread[n] == BORROWING && HAS(TOUCH, n) && !touched[n] ->
      inside[n] = true; touched[n] = true; faulted[n] = false; thread[n] = TRYING; needs[n] = WRITE }
  /* the borrow goes home as an object, or (at the home) has been in place all the time */
  :: d_step { thread[n] == KEEPING -> faulted[n] = false; thread[n] = TRYING; needs[n] = OBJECT }
  :: d_step { thread[n] == KEEPING && n == HOME -> inside[n] = false; touched[n] = false; thread[n] = CHOOSING }
  :: ASKS_INSIDE(0) && ASKS_INSIDE(1) -> goto circle
#endif
#if AHEAD
  :: d_step { MAY_ASK(n, READ) -> ask_ahead(n, READ) }
  :: d_step { MAY_ASK(n, WRITE) -> ask_ahead(n, WRITE) }
#endif
#if HINTS
  :: d_step { thread[n] == CHOOSING && phase[n] == IDLE && access[n] != NONE && !(access[n] == OBJECT && fresh[n]) ->
      printf("RELEASE %d\n", n);
      keeps[n] = false; /* no borrow goes on */
      if
      :: OWNS(n) -> act = A_HAND_OVER; to_word = FREE; served = 0
      :: else -> act = A_DROP; from_word = seen[n]
      fi;
      perform(n);
      carry_out(n) }
  :: d_step { thread[n] == CHOOSING && !BUSY(n) && (access[n] == READ || access[n] == WRITE) ->
      printf("KEEP %d\n", n);
      keeps[n] = false;
      if
      :: !OWNS(n) -> act = A_LOOK
      :: else -> look_asked[n] = false; act = A_HAND_OVER; to_word = SHARED_WORD(BIT(n)); served = 0
      fi;
      perform(n);
      fresh[n] = fresh[n] || act == A_HAND_OVER;
      carry_out(n) }
  :: d_step { thread[n] == CHOOSING && phase[n] == IDLE && access[n] == WRITE && n != HOME && !clean[n] && !look_asked[n] ->
      printf("CLEAN %d\n", n);
      access[n] = READ; lower = true; clean[n] = 1;
      perform(n);
      carry_out(n) }
#endif
  od;
#if TOUCH
  goto over;
circle:
end_circle:
  false;
over:
  skip
#endif
}

init {
  atomic {
#if REQS > 0
    more[0] = REQS0; more[1] = REQS;
#if N > 2
    more[2] = REQS;
#endif
#endif
    run Chain(0); run Chain(1); run Use(0); run Use(1); run Mail(0, 1); run Mail(1, 0); run Thread(0); run Thread(1);
#if N > 2
    run Chain(2); run Use(2); run Mail(0, 2); run Mail(1, 2); run Mail(2, 0); run Mail(2, 1); run Thread(2)
#endif
  }
}

#ifdef LIVE
#define asleep (thread[LIVE] == TRYING || thread[LIVE] == SLEEPING || thread[LIVE] == QUEUEING)
ltl served { [] (asleep -> <> !asleep) }
#endif
