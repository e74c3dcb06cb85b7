"""What the comparison is meant to show, each beside what was measured: met or missed."""

import dataclasses

from comparison import tables

NODES = 4
FOUR = ("kv-partitioned", "gemm", "dataframe", "socialnet")  # on one node all keys are its own
ONE_NODE = 1 - 0.0242  # DRust's worst application on one node takes 2.42 % longer
LEAST_NS = 0.1e9  # of processor time: in a shorter run a per cent is the first use of memory and of threads


@dataclasses.dataclass(frozen=True)
class Goal:
    what: str
    measured: float  # times
    bound: float
    at_most: bool = False

    def met(self):
        return self.measured <= self.bound if self.at_most else self.measured >= self.bound

    def cells(self):
        figure = f"{self.measured:.3f}" if 0.9 < self.measured < 1.3 else f"{self.measured:.3g}"
        bound = f"{'at most' if self.at_most else 'at least'} {self.bound:.3g}"
        return [self.what, bound, figure, "met" if self.met() else "missed"]


def ratio(summary, workload, nodes, mode, other):
    one, two = summary.cell(workload, nodes, mode), summary.cell(workload, nodes, other)
    return one.median / two.median if one and two and two.median else None


def beside_native(summary, workload, mode):
    """On one node, by processor time: a thread that nobody keeps from running takes no other, and others do here."""
    one, native = summary.cell(workload, 1, mode), summary.cell(workload, 1, "native")
    if not one or not native or is_short(native):
        return None
    return min(float(row["cpu_ns"]) / float(row["operations"]) for row in native.rows) / min(
        float(row["cpu_ns"]) / float(row["operations"]) for row in one.rows
    )


def is_short(cell):
    return min(float(row["cpu_ns"]) for row in cell.rows) < LEAST_NS


def too_short(summary):
    """The workloads whose runs on one node cannot tell some per cent."""
    cells = {load: summary.cell(load, 1, "native") for load in FOUR}
    return [load for load, cell in cells.items() if cell and is_short(cell)]


def found(summary):
    """Those that these runs can say something about."""
    wanted = [
        (f"{load}, 1 node: {mode} : native, processor time", beside_native(summary, load, mode), ONE_NODE)
        for load in FOUR
        for mode in ("hinted", "owned")
    ]
    if summary.about["emulate"] == "rdma":
        wanted += [
            (f"kv, {NODES} nodes: owned : page", ratio(summary, "kv", NODES, "owned", "page"), 10),
            (f"kv, {NODES} nodes: hinted : page", ratio(summary, "kv", NODES, "hinted", "page"), 5),
        ]
    wanted += [
        (f"{load}, {NODES} nodes: owned : page", ratio(summary, load, NODES, "owned", "page"), 1)
        for load in ("gemm", "dataframe")
    ]
    wanted.append(
        (f"socialnet, {NODES} nodes: owned : message", ratio(summary, "socialnet", NODES, "owned", "message"), 1)
    )
    goals = [Goal(what, measured, bound) for what, measured, bound in wanted if measured is not None]
    for load in ("gemm", "dataframe"):
        cell = summary.cell(load, NODES, "owned")
        least = cell.beside_least() if cell else None
        if least:
            goals.append(Goal(f"{load}, {NODES} nodes: owned's bytes moved : least", least, 1.2, at_most=True))
    return goals


def rows(summary):
    """A head and rows; no rows if there is no goal that these runs can tell of."""
    return ["goal", "", "measured", ""], [goal.cells() for goal in found(summary)]


def sentence(summary):
    goals = found(summary)
    missed = [goal for goal in goals if not goal.met()]
    if not goals:
        return ""
    said = f"{len(goals) - len(missed)} of {len(goals)} goals met"
    said += f"; furthest from it: {min(missed, key=distance).what}." if missed else "."
    if short := too_short(summary):
        said += f" Too short to tell what hints cost on one node: {', '.join(short)} (a larger --size)."
    return said


def distance(goal):
    return goal.bound / goal.measured if goal.at_most else goal.measured / goal.bound


def terminal(summary):
    head, body = rows(summary)
    return f"goals: {sentence(summary)}\n{tables.aligned(head, body)}" if body else ""
