"""What scripts/compare can run: for each workload its program, its options, and how many operations a worker does."""

import dataclasses

# In the order of the reports. hints-1 to hints-4: page mode with so many of a program's hints; message: no shared
# memory, values in serialised messages.
HINT_STEPS = ("hints-1", "hints-2", "hints-3", "hints-4")
MODES = ("native", "page", *HINT_STEPS, "hinted", "owned", "message")
FOUR = ("native", "page", "hinted", "owned")
SIZES = ("tiny", "small", "medium", "large")


@dataclasses.dataclass(frozen=True)
class Workload:
    title: str  # for people
    program: str
    options: tuple
    counts: tuple  # of the option -n, by size
    about: str  # some sentences for the report
    request: str  # whose latency is measured
    per: int = 1  # so many operations make what moved for them a number that can be read
    modes: tuple = FOUR
    quick: bool = True  # part of --quick
    one_home: bool = False  # all data begins in node 0's memory: its link is what all nodes share
    published: tuple = ()  # (system, times one node without DSM, at 8 nodes)

    def each(self):
        return "for each operation" if self.per == 1 else f"for {self.per:,} operations"

    def mode_options(self, mode):
        if mode in HINT_STEPS:
            return ["--mode", "page", "--hints", mode.split("-")[1]]
        return ["--mode", mode]


ALL = {
    "kv": Workload(
        "key-value store, all nodes use all keys",
        "app_kv",
        ("--shared", "--get", "90"),
        (300, 5_000, 20_000, 50_000),
        "Gets (90 %) and puts on one hash table of 98,304 keys, six to a bucket of 256 bytes, zipf 0.99, as GAM's "
        "kvbench has them. Requests come 32 at a time. Page mode has a version lock in the bucket, so that all nodes "
        "can read a page at the same time. Hinted mode borrows other nodes' buckets of 32 requests together and "
        "peeks into its own, and the mutable borrow is the lock. In owned mode a bucket belongs to its home: gets as "
        "in hinted mode, puts are sent there and answered in groups. Short runs (size small) are first borrows for "
        "the most part: object mode gains half as much there.",
        "32 requests that came together",
        published=(("DRust", 3.34), ("GAM", 2.50), ("Grappa", 0.11)),
    ),
    "kv-partitioned": Workload(
        "key-value store, each node uses its own keys",
        "app_kv",
        ("--partitioned", "--get", "90"),
        (300, 50_000, 16_000_000, 64_000_000),
        "The same table, but no two nodes use the same bucket: nothing needs to move, and what remains is what each "
        "mode costs where the data is: a std::mutex and a plain read (native), a version lock (page), a look in place "
        "that takes no lock (hinted, owned), a mutable borrow for each put.",
        "32 requests that came together",
    ),
    "dataframe": Workload(
        "h2oai group-by, ten queries, columns on all nodes",
        "app_dataframe",
        (),
        (5_000, 65_536, 262_144, 2_097_152),
        "The table G1 with K = 100: column i is in the memory of node i mod n, in chunks of up to 1 MiB. Each worker "
        "groups its rows, then adds up its share of the groups. DRust's ten queries, whose aggregates differ from the "
        "official ones; v3 in millionths, so that all sums are exact. An operation is a row of a query.",
        "one query, as each worker sees it",
        per=1_000,
        published=(("DRust", 5.57), ("GAM", 2.18), ("Grappa", 1.69)),
    ),
    "socialnet": Workload(
        "DeathStarBench's compose-post, services on all nodes",
        "app_socialnet",
        ("--items", "32"),
        (4, 20, 1_000, 4_000),
        "A request's text (175 characters) is scanned on one node, a media item (five frames of 480 * 270 RGB, 1.9 MB) "
        "is copied and marked on another, and the post is stored on the text's node. `message` is the baseline: "
        "services with memory of their own, values in serialised messages.",
        "one request",
        modes=(*FOUR, "message"),
        published=(("DRust", 3.51), ("GAM", 1.33), ("Grappa", 1.39)),
    ),
    "gemm": Workload(
        "Strassen's matrix product, A, B and C begin in node 0's memory",
        "app_matmul",
        ("--strassen",),
        (300, 512, 1024, 2048),
        "Doubles; three levels of Strassen at once, 343 leaf products, each computed whole on one node from the blocks "
        "of A and B that it needs; then each worker adds up its part of C. Page mode fetches tiles (32 KiB) by "
        "dsm::prefetch and gives back by dsm::release; in object mode a tile is an object, and in owned mode C stays "
        "with who computed it until the clock has stopped. An operation is one of the 2 n^3 of the plain product.",
        "one leaf product",
        per=1_000_000,
        one_home=True,
        published=(("DRust", 5.93), ("GAM", 3.82), ("Grappa", 2.02)),
    ),
    "gemm-blocked": Workload(
        "plain matrix product in tiles, A, B and C in node 0's memory",
        "app_matmul",
        (),
        (200, 384, 640, 1024),
        "C = A * B of doubles in tiles of 64 by 64 elements (32 KiB); each node computes a rectangle of C.",
        "",
        per=1_000_000,
        quick=False,
        one_home=True,
    ),
    "pagerank": Workload(
        "PageRank over Debian's package graph",
        "app_pagerank",
        ("--graph", "build/package-graph.txt", "--tolerance", "0"),
        (3, 10, 30, 100),
        "Pull-style power iteration; the graph is cut into a part for each worker, and what the others read of a part "
        "is its board of contributions. Page mode fetches boards by dsm::prefetch and gives back by dsm::release; in "
        "object mode a board is an object. The ranks are compared bit by bit with one process. An operation is an edge.",
        "one iteration, with its barrier",
        per=1_000,
    ),
    "falseshare": Workload(
        "false sharing: 64-byte objects side by side, each written by one worker",
        "app_falseshare",
        (),
        (300, 10_000, 50_000, 100_000),
        "Each worker writes 64 objects of its own in turn, computing for about a microsecond before each write; on "
        "each page there are objects of every worker.",
        "",
        one_home=True,
    ),
    "reread": Workload(
        "read-mostly objects: one writer now and then, all read",
        "app_reread",
        (),
        (1_000, 50_000, 400_000, 2_000_000),
        "1,024 objects of 256 bytes in node 0's memory. In each of 20 rounds node 0 changes 8 of them, then all "
        "workers read at random. Page mode fetches all pages at the round's begin, hinted mode borrows all objects "
        "together then (one chain looks what has changed), owned mode borrows for every read.",
        "the reads of a round",
        one_home=True,
    ),
    "ledger": Workload(
        "a bank in C, structs that point at each other; hints added one at a time",
        "app_ledger",
        (),
        (100, 500, 1_500, 10_000),
        "Payments between people with accounts, inboxes, branches and tellers: raw pointers everywhere, many to one "
        "object, hot objects side by side on pages. No owner can be named for them, so DRust's rules do not allow the "
        "program at all. Each hint is a borrow and its release around one line: branches (1), tellers (2), accounts "
        "(3), inboxes (4); hinted has a transfer of each teller to its node as well.",
        "16 payments",
        modes=("native", "page", *HINT_STEPS, "hinted"),
        one_home=True,
    ),
}


def count_of_nodes(nodes):
    return "1 node" if nodes == 1 else f"{nodes} nodes"
