/* libdsm from C: a counter that all threads of all nodes count up under a lock, and a letter from each node to the next
 * one. Checked: the counter, and that every letter arrived. */
#include <dsm/dsm_c.h>
#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { THREADS_MAX = 1024 };

struct settings {
  unsigned threads;
  uint64_t count;
  const char* json;
};

/* Made by node 0, found by the others under its name. */
struct board {
  dsm_mutex* lock;
  dsm_barrier* nodes;
  dsm_barrier* workers;
  uint64_t* counter; /* under `lock`; on a page of its own, because the page of the handles above is only read */
  uint64_t wrong;    /* nodes that found a mistake, under `lock` */
  char* letters[];   /* one a node, from that node */
};

struct work {
  struct board* board;
  uint64_t count;
};

/* exit() would wait for nodes that wait for this one. */
static void die(const char* sentence) {
  fprintf(stderr, "app_c_hello: %s\n", sentence);
  fflush(NULL);
  _exit(1);
}

static double now_seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static uint64_t number(const char* option, const char* text, uint64_t max) {
  char* end = NULL;
  errno = 0;
  const unsigned long long value = strtoull(text, &end, 10);
  if (errno != 0 || end == text || *end != '\0' || text[0] == '-' || value < 1 || value > max) {
    fprintf(stderr, "app_c_hello: %s must be a number from 1 to %llu, and is \"%s\".\n", option,
            (unsigned long long)max, text);
    exit(2);
  }
  return value;
}

static void usage(void) {
  puts(
      "Counts up one counter under a lock by all threads of all nodes, from C.\n"
      "Usage: app_c_hello [options]\n\n"
      "  -h, --help         this text\n"
      "  -t, --threads N    threads of each node (default: DSM_THREADS, else 1)\n"
      "  -n, --count N      how often each thread counts (default 2000)\n"
      "      --json FILE    the result as one JSON object, written by node 0");
}

static struct settings parse(int argc, char** argv) {
  static const struct option options[] = {{"help", no_argument, NULL, 'h'},
                                          {"threads", required_argument, NULL, 't'},
                                          {"count", required_argument, NULL, 'n'},
                                          {"json", required_argument, NULL, 'j'},
                                          {NULL, 0, NULL, 0}};
  struct settings settings = {1, 2000, NULL};
  const char* threads = getenv("DSM_THREADS");
  if (threads != NULL) settings.threads = (unsigned)number("DSM_THREADS", threads, THREADS_MAX);
  for (int option; (option = getopt_long(argc, argv, "ht:n:", options, NULL)) != -1;) {
    switch (option) {
      case 'h':
        usage();
        exit(0);
      case 't':
        settings.threads = (unsigned)number("--threads", optarg, THREADS_MAX);
        break;
      case 'n':
        settings.count = number("--count", optarg, 1000000000);
        break;
      case 'j':
        settings.json = optarg;
        break;
      default:
        usage();
        exit(2);
    }
  }
  if (optind != argc) {
    fprintf(stderr, "app_c_hello: \"%s\" is no option.\n", argv[optind]);
    exit(2);
  }
  return settings;
}

static struct board* make_board(unsigned threads) {
  static const char name[] = "app_c_hello.board";
  const unsigned nodes = dsm_nodes();
  if (dsm_node() != 0) return dsm_lookup(name, -1);
  const size_t bytes = sizeof(struct board) + nodes * sizeof(char*);
  struct board* board = dsm_alloc(bytes, 0, DSM_PLACE_LOCAL);
  if (board == NULL) die("global memory is used up.");
  memset(board, 0, bytes);
  board->lock = dsm_mutex_create();
  board->nodes = dsm_barrier_create(nodes);
  board->workers = dsm_barrier_create((size_t)nodes * threads);
  board->counter = dsm_alloc(4096, 4096, DSM_PLACE_LOCAL);
  if (board->counter == NULL || board->lock == NULL || board->nodes == NULL || board->workers == NULL)
    die("global memory is used up.");
  *board->counter = 0;
  if (dsm_publish(name, board) != 0) die("the board could not be published.");
  return board;
}

static void* count_up(void* argument) {
  const struct work* work = argument;
  struct board* board = work->board;
  dsm_barrier_wait(board->workers);
  for (uint64_t i = 0; i < work->count; ++i) {
    dsm_mutex_lock(board->lock);
    ++*board->counter;
    dsm_mutex_unlock(board->lock);
  }
  dsm_barrier_wait(board->workers);
  return NULL;
}

static double count_with_all(struct board* board, const struct settings* settings) {
  pthread_t threads[THREADS_MAX];
  struct work work = {board, settings->count};
  const double start = now_seconds();
  for (unsigned i = 0; i < settings->threads; ++i) {
    if (pthread_create(&threads[i], NULL, count_up, &work) != 0) die("a thread could not be started.");
  }
  for (unsigned i = 0; i < settings->threads; ++i) pthread_join(threads[i], NULL);
  return now_seconds() - start;
}

static void write_letter(struct board* board) {
  char* letter = dsm_alloc(64, 0, DSM_PLACE_LOCAL);
  if (letter == NULL) die("global memory is used up.");
  snprintf(letter, 64, "hello from node %u of %u", dsm_node(), dsm_nodes());
  board->letters[dsm_node()] = letter;
}

/* Reads the letter of the node before this one and frees it, at whichever node it is homed. */
static int read_letter(struct board* board) {
  const unsigned nodes = dsm_nodes();
  const unsigned from = (dsm_node() + nodes - 1) % nodes;
  char expected[64];
  snprintf(expected, sizeof expected, "hello from node %u of %u", from, nodes);
  char* letter = board->letters[from];
  const int good = dsm_home(letter) == from && strcmp(letter, expected) == 0;
  if (!good) fprintf(stderr, "app_c_hello: the result is wrong: node %u's letter says \"%.63s\".\n", from, letter);
  dsm_free(letter);
  return good;
}

static void report(const struct settings* settings, uint64_t counted, double seconds, int good) {
  const double rate = (double)counted / seconds;
  printf("app_c_hello: nodes %u, threads %u\n", dsm_nodes(), settings->threads);
  printf("%10s %12s %12s\n%10.4f %12llu %12.0f\n", "seconds", "increments", "per second", seconds,
         (unsigned long long)counted, rate);
  printf("counter %llu  %s\n", (unsigned long long)counted, good ? "ok" : "WRONG");
  fflush(stdout);
  if (settings->json == NULL) return;
  FILE* file = fopen(settings->json, "w");
  if (file == NULL) die("the file named by --json cannot be written.");
  fprintf(file,
          "{\"app\": \"app_c_hello\", \"nodes\": %u, \"threads\": %u, \"seconds\": %.6f, \"unit\": \"increments\", "
          "\"work\": %llu, \"per_second\": %.1f, \"ok\": %s}\n",
          dsm_nodes(), settings->threads, seconds, (unsigned long long)counted, rate, good ? "true" : "false");
  if (fclose(file) != 0) die("the file named by --json cannot be written.");
}

int main(int argc, char** argv) {
  const struct settings settings = parse(argc, argv);
  if (dsm_start() != 0) return 1; /* the reason has been printed */
  struct board* board = make_board(settings.threads);
  write_letter(board);
  dsm_barrier_wait(board->nodes);

  const double seconds = count_with_all(board, &settings);
  const uint64_t expected = (uint64_t)dsm_nodes() * settings.threads * settings.count; /* what one thread would reach */
  int good = read_letter(board);
  if (*board->counter != expected) {
    fprintf(stderr, "app_c_hello: the result is wrong: the counter is %llu instead of %llu.\n",
            (unsigned long long)*board->counter, (unsigned long long)expected);
    good = 0;
  }
  dsm_mutex_lock(board->lock);
  board->wrong += good ? 0 : 1;
  dsm_mutex_unlock(board->lock);
  dsm_barrier_wait(board->nodes);
  if (dsm_node() == 0) report(&settings, *board->counter, seconds, board->wrong == 0);
  dsm_barrier_wait(board->nodes);
  return board->wrong == 0 ? 0 : 1;
}
