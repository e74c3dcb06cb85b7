/* A bank as C programs have them: people, accounts, inboxes, branches and tellers in arrays of structs that point at
 * each other. Any number of pointers lead to one object, and objects that many change lie beside each other on a page.
 * No ownership discipline describes it, so a system that needs one (DRust's) cannot run it; hints are added to it one
 * call at a time, and any number of them is right. */
#ifndef DSM_BENCH_LEDGER_H
#define DSM_BENCH_LEDGER_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { LEDGER_FRIENDS = 6, LEDGER_HINTS = 5 };

struct account {
  int64_t balance;
  uint64_t payments;
  char number[48];
};
struct inbox {
  int64_t received;
  uint64_t letters;
  char place[48];
};
struct branch {
  int64_t turnover;
  uint64_t payments;
  char name[48];
};
struct teller {
  int64_t paid;
  uint64_t payments;
  char name[48];
};
struct person {
  struct person* friends[LEDGER_FRIENDS];
  struct account* account;
  struct inbox* inbox;
  struct branch* branch;
};
struct ledger {
  struct person* people;
  struct account* accounts;
  struct inbox* inboxes;
  struct branch* branches;
  struct teller* tellers;
  size_t person_count, branch_count, teller_count;
};

struct payment {
  uint32_t payer;
  uint16_t friend_number;
  uint16_t amount;
};

/* Links what the arrays hold, which is all zero: `random` gives the friends. */
void ledger_link(struct ledger* ledger, uint64_t (*random)(uint64_t));
/* Makes the payments as teller number `teller`. `hints`: how many of the LEDGER_HINTS hints in ledger.c are on. */
void ledger_pay(const struct ledger* ledger, size_t teller, const struct payment* payments, size_t count, int hints);

#ifdef __cplusplus
}
#endif
#endif
