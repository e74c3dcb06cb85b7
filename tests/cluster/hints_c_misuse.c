/* Programs in C that borrow wrongly, one by name: hints_c_misuse NAME. Each has to end with one clear line. */
#include <dsm/dsm_c.h>
#include <dsm/hints_c.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct account {
  long balance;
  long pad[7];
};

static struct account* accounts; /* 64 of them, made by node 0 */
static dsm_barrier* barrier;

static void meet(void) { dsm_barrier_wait(barrier); }

static void null_pointer(void) { (void)dsm_borrow_mut(NULL, sizeof(struct account)); }

static void foreign_pointer(void) {
  struct account mine = {0, {0}};
  (void)dsm_borrow_shared(&mine, sizeof mine);
}

static void no_bytes(void) { (void)dsm_borrow_shared(accounts, 0); }
static void too_many_bytes(void) { (void)dsm_borrow_shared(accounts, ((size_t)64 << 20) + 1); }

static void second_release(void) {
  struct account* held = dsm_borrow_mut(accounts, sizeof *accounts);
  dsm_release(held);
  dsm_release(held);
}

static void second_release_of_shared(void) {
  const struct account* seen = dsm_borrow_shared(accounts, sizeof *accounts);
  dsm_release(seen);
  dsm_release_unchanged(seen);
}

static void release_of_nothing(void) { dsm_release(NULL); }
static void release_of_the_object(void) {
  (void)dsm_borrow_mut(accounts, sizeof *accounts);
  dsm_release(accounts);
}

static void* release_it(void* held) {
  dsm_release(held);
  return NULL;
}
static void release_elsewhere(void) {
  pthread_t thread;
  pthread_create(&thread, NULL, release_it, dsm_borrow_mut(accounts, sizeof *accounts));
  pthread_join(thread, NULL);
}

static void overlap(void) {
  (void)dsm_borrow_mut(&accounts[0], 2 * sizeof *accounts);
  (void)dsm_borrow_mut(&accounts[1], sizeof *accounts);
}

static void conflict(void) {
  (void)dsm_borrow_mut(accounts, sizeof *accounts);
  (void)dsm_borrow_shared(accounts, sizeof *accounts);
}

static jmp_buf out;
static void leave(void) {
  (void)dsm_borrow_mut(accounts, sizeof *accounts);
  longjmp(out, 1);
}
static void longjmp_and_again(void) {
  if (setjmp(out) == 0) leave();
  (void)dsm_borrow_mut(accounts, sizeof *accounts);
}

/* The thread ends later, as well as it may. */
static void* leave_in_thread(void* unused) {
  (void)unused;
  if (setjmp(out) == 0) leave();
  return NULL;
}
static void* exit_in_thread(void* unused) {
  (void)dsm_borrow_mut(accounts, sizeof *accounts);
  pthread_exit(unused);
}
static void run_thread(void* (*start)(void*)) {
  if (dsm_node() == 1) {
    pthread_t thread;
    pthread_create(&thread, NULL, start, NULL);
    pthread_join(thread, NULL);
  }
  meet();
}
static void longjmp_in_thread(void) { run_thread(leave_in_thread); }
static void thread_exit(void) { run_thread(exit_in_thread); }

/* Node 1 leaves main inside its borrow, for which node 0 waits. */
static void longjmp_to_the_end(void) {
  if (dsm_node() == 1 && setjmp(out) == 0) leave();
  meet();
  if (dsm_node() == 0) (void)dsm_borrow_mut(accounts, sizeof *accounts);
}

static void transfer_to_nobody(void) { dsm_transfer(accounts, sizeof *accounts, 99); }
static void transfer_inside(void) {
  (void)dsm_borrow_mut(accounts, sizeof *accounts);
  dsm_transfer(accounts, sizeof *accounts, 1);
}

static const struct {
  const char* name;
  void (*run)(void);
} kCases[] = {
    {"null_pointer", null_pointer},
    {"foreign_pointer", foreign_pointer},
    {"no_bytes", no_bytes},
    {"too_many_bytes", too_many_bytes},
    {"second_release", second_release},
    {"second_release_of_shared", second_release_of_shared},
    {"release_of_nothing", release_of_nothing},
    {"release_of_the_object", release_of_the_object},
    {"release_elsewhere", release_elsewhere},
    {"overlap", overlap},
    {"conflict", conflict},
    {"longjmp_and_again", longjmp_and_again},
    {"longjmp_in_thread", longjmp_in_thread},
    {"thread_exit", thread_exit},
    {"longjmp_to_the_end", longjmp_to_the_end},
    {"transfer_to_nobody", transfer_to_nobody},
    {"transfer_inside", transfer_inside},
};

int main(int argc, char** argv) {
  if (dsm_start() != 0) return 2;
  accounts = dsm_alloc_collective(64 * sizeof *accounts, DSM_PLACE_INTERLEAVED);
  if (dsm_node() == 0) (void)dsm_publish("barrier", dsm_barrier_create(dsm_nodes()));
  barrier = dsm_lookup("barrier", -1);
  for (size_t i = 0; argc > 1 && i < sizeof kCases / sizeof kCases[0]; ++i) {
    if (strcmp(argv[1], kCases[i].name) != 0) continue;
    kCases[i].run();
    return 0;
  }
  fprintf(stderr, "hints_c_misuse: there is no case of that name\n");
  return 2;
}
