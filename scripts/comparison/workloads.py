"""What scripts/compare can run: for each workload its program, its options, and how many operations a worker does."""

import dataclasses

MODES = ("native", "page", "hinted", "owned")
SIZES = ("tiny", "small", "medium", "large")


@dataclasses.dataclass(frozen=True)
class Workload:
    title: str  # for people
    program: str
    options: tuple
    counts: tuple  # of the option -n, by size
    about: str  # some sentences for the report
    per: int = 1  # so many operations make what moved for them a number that can be read

    def each(self):
        return "for each operation" if self.per == 1 else f"for {self.per:,} operations"


ALL = {
    "kv": Workload(
        "key-value store, all nodes use all keys",
        "app_kv",
        ("--shared", "--get", "90"),
        (300, 5_000, 20_000, 50_000),
        "Gets (90 %) and puts on one hash table of 98,304 keys, six to a bucket of 256 bytes, zipf 0.99; every bucket "
        "has a lock. Page mode keeps it in the bucket; in hinted mode the mutable borrow is the lock; in owned mode a "
        "dsm::shared_mutex protects the owner, which changes when its object moves.",
    ),
    "kv-partitioned": Workload(
        "key-value store, each node uses its own keys",
        "app_kv",
        ("--partitioned", "--get", "90"),
        (300, 50_000, 500_000, 2_000_000),
        "The same table, but no two nodes use the same bucket: nothing needs to move, and what remains is what each "
        "mode costs where the data is.",
    ),
    "falseshare": Workload(
        "false sharing: 64-byte objects side by side, each written by one worker",
        "app_falseshare",
        (),
        (300, 10_000, 50_000, 100_000),
        "Each worker writes 64 objects of its own in turn, computing for about a microsecond before each write; on "
        "each page there are objects of every worker.",
    ),
    "reread": Workload(
        "read-mostly objects: one writer now and then, all read",
        "app_reread",
        (),
        (1_000, 50_000, 400_000, 2_000_000),
        "1,024 objects of 256 bytes in node 0's memory. In each of 20 rounds node 0 changes 8 of them, then all "
        "workers read at random.",
    ),
    "gemm": Workload(
        "matrix product, A, B and C in node 0's memory",
        "app_matmul",
        (),
        (200, 384, 640, 1024),
        "C = A * B of doubles in tiles of 64 by 64 elements (32 KiB); each node computes a rectangle of C. Page mode "
        "fetches and gives back whole tiles by dsm::prefetch and dsm::release; in object mode a tile is an object. An "
        "operation is a multiplication or an addition.",
        per=1_000_000,
    ),
}
