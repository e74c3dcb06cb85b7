#include "bench/apps/ledger/ledger.h"

#include <dsm/dsm_c.h>
#include <dsm/hints_c.h>

/* What an unhinted program has: an atomic addition in place. It is right beside any hint, because a raw access and a
 * mutable borrow of the same object exclude each other. */
static void add(int64_t* to, int64_t amount, uint64_t* count) {
  __atomic_fetch_add(to, amount, __ATOMIC_RELAXED);
  __atomic_fetch_add(count, 1, __ATOMIC_RELAXED);
}

void ledger_link(struct ledger* ledger, uint64_t (*random)(uint64_t)) {
  for (size_t i = 0; i < ledger->person_count; ++i) {
    struct person* person = &ledger->people[i];
    for (size_t f = 0; f < LEDGER_FRIENDS; ++f) {
      person->friends[f] = &ledger->people[random(i * LEDGER_FRIENDS + f) % ledger->person_count];
    }
    person->account = &ledger->accounts[i];
    person->inbox = &ledger->inboxes[i];
    person->branch = &ledger->branches[random(~i) % ledger->branch_count];
  }
}

/* The hints: each is a borrow and its release around the line that was there before. */
static void count_at_branch(struct branch* branch, int64_t amount, int hints) {
  struct branch* b = hints >= 1 ? dsm_borrow_mut(branch, sizeof *branch) : branch;
  add(&b->turnover, amount, &b->payments);
  if (hints >= 1) dsm_release(b);
}
static void count_at_teller(struct teller* teller, int64_t amount, int hints) {
  struct teller* t = hints >= 2 ? dsm_borrow_mut(teller, sizeof *teller) : teller;
  add(&t->paid, amount, &t->payments);
  if (hints >= 2) dsm_release(t);
}
static void take_from(struct account* account, int64_t amount, int hints) {
  struct account* a = hints >= 3 ? dsm_borrow_mut(account, sizeof *account) : account;
  add(&a->balance, -amount, &a->payments);
  if (hints >= 3) dsm_release(a);
}
static void send_to(struct inbox* inbox, int64_t amount, int hints) {
  struct inbox* i = hints >= 4 ? dsm_borrow_mut(inbox, sizeof *inbox) : inbox;
  add(&i->received, amount, &i->letters);
  if (hints >= 4) dsm_release(i);
}

void ledger_pay(const struct ledger* ledger, size_t teller, const struct payment* payments, size_t count, int hints) {
  /* The teller's counts are used by one node: it stands there from now on. */
  if (hints >= 5) dsm_transfer(&ledger->tellers[teller], sizeof *ledger->tellers, dsm_node());
  for (size_t i = 0; i < count; ++i) {
    const struct person* payer = &ledger->people[payments[i].payer];
    const struct person* payee = payer->friends[payments[i].friend_number];
    const int64_t amount = payments[i].amount;
    take_from(payer->account, amount, hints);
    send_to(payee->inbox, amount, hints);
    count_at_branch(payer->branch, amount, hints);
    count_at_branch(payee->branch, amount, hints);
    count_at_teller(&ledger->tellers[teller], amount, hints);
  }
}
