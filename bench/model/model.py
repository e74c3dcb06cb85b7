#!/usr/bin/env python3
"""Predicts throughput on 1 to 1,000 nodes from counts that were measured on a few. README.md beside it says how.

  bench/model/model.py RAW.csv [--network rdma] [--fit 2,4] [--nodes 1,8,64,1000]

RAW.csv is a raw.csv of scripts/compare. If it was made with an emulated network, what the model says of that machine is
put beside what was measured there, node count by node count, with the error.
"""

import argparse
import dataclasses
import math
import pathlib
import statistics
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent / "scripts"))

from comparison import rows, workloads  # noqa: E402


@dataclasses.dataclass(frozen=True)
class Network:
    latency_ns: float  # of a chain of one-sided operations
    bytes_per_us: float
    message_ns: float


# The figures of dsmrun --emulate.
NETWORKS = {"rdma": Network(2_000, 5_000, 2_500), "tcp": Network(25_000, 1_100, 25_000)}

# How a count for each operation grows with the nodes n, beside that on two: (n-1)(1+k)/(n-1+k). With k = 0 it stays,
# with 1 it is the share of the data that is elsewhere, with infinity every node adds as much.
SHAPES = (0, 0.25, 0.5, 1, 1.5, 2, 3, 4, 6, 8, 12, 16, math.inf)
COUNTS = {
    "round_trips": ("round_trips",),
    "bytes": ("bytes_read", "bytes_written"),
    "messages": ("message_sent",),
}


def network_of(text):
    if text == "none":
        return None
    if text in NETWORKS:
        return NETWORKS[text]
    return Network(*(float(number) for number in text.split(":")))


@dataclasses.dataclass(frozen=True)
class Law:
    on_two: float
    shape: float

    def at(self, nodes):
        return self.on_two * growth(self.shape, nodes)


def growth(shape, nodes):
    return nodes - 1 if shape == math.inf else (nodes - 1) * (1 + shape) / (nodes - 1 + shape) if nodes > 1 else 0


def fitted(points):
    """The law that the points {nodes: count} follow best; with one point, that of a share elsewhere."""
    pairs = [(n, count) for n, count in points.items() if n > 1]
    best = None
    for shape in SHAPES if len(pairs) > 1 else (1,):
        grown = [(growth(shape, n), count) for n, count in pairs]
        on_two = sum(x * y for x, y in grown) / sum(x * x for x, _ in grown) if grown else 0
        miss = sum((on_two * x - y) ** 2 / max(y, 1e-12) ** 2 for x, y in grown)
        if best is None or miss < best[0] - 1e-9:
            best = (miss, Law(on_two, shape))
    return best[1]


class Model:
    """One workload in one mode."""

    def __init__(self, summary, workload, mode, fit):
        self.load, self.threads = workloads.ALL[workload], int(summary.about["threads"])
        cells = {n: summary.cell(workload, n, mode) for n in summary.nodes(workload)}
        self.cells = {n: cell for n, cell in cells.items() if cell}
        self.known = {n: cell for n, cell in self.cells.items() if n in fit} or self.cells
        self.laws = {
            name: fitted({n: cell.per_operation(*counters) for n, cell in self.known.items()})
            for name, counters in COUNTS.items()
        }
        network = network_of(summary.about["emulate"])
        computing = {n: computing_ns(cell, network) for n, cell in self.known.items()}
        self.alone_ns = computing_ns(self.cells[1], network) if 1 in self.cells else min(computing.values())
        self.more_ns = fitted({n: max(ns - self.alone_ns, 0) for n, ns in computing.items()})

    def compute_at(self, nodes):
        """Processor time for an operation: the work itself, and what sharing it between so many nodes adds."""
        return self.alone_ns + self.more_ns.at(nodes)

    def wire_ns(self, nodes, network):
        trips, bytes_moved = self.laws["round_trips"].at(nodes), self.laws["bytes"].at(nodes)
        return trips * network.latency_ns + 1000 * bytes_moved / network.bytes_per_us

    def on_cluster(self, nodes, network):
        """Operations a second: a machine a node, with a core for each worker and for what serves others."""
        whole = self.compute_at(nodes) + self.wire_ns(nodes, network)
        whole += self.laws["messages"].at(nodes) * network.message_ns
        rate = 1e9 * nodes * self.threads / whole
        moved = self.laws["bytes"].at(nodes)
        if moved > 0:  # the busiest node's link: all of it where the data has one home, else a node's share
            links = 1 if self.load.one_home else nodes
            rate = min(rate, 1e6 * network.bytes_per_us * links / moved)
        return rate

    def on_this_machine(self, nodes, network):
        """All nodes on the machine of the runs, whose cores also wait for the wire: as much of them as the job had with
        the largest number of nodes up to this one that the model has seen."""
        seen = self.known[max([n for n in self.known if n <= nodes] or [min(self.known)])]
        had = seen.median * seen.per_operation("cpu_ns")
        return had / (self.compute_at(nodes) + self.wire_ns(nodes, network))


def computing_ns(cell, network):
    """Processor time for an operation; the emulated network's, which is spent waiting in a loop, is not part of it."""
    used = cell.per_operation("cpu_ns")
    if network:
        used -= cell.per_operation("round_trips") * network.latency_ns
        used -= 1000 * cell.per_operation("bytes_read", "bytes_written") / network.bytes_per_us
    return max(used, 0.05 * cell.per_operation("cpu_ns"))


def median_errors(checked, fit):
    """Of the node counts that the model has seen, and of others; None if there is none."""
    seen = [abs(row[-1]) for row in checked if row[2] in fit]
    other = [abs(row[-1]) for row in checked if row[2] not in fit]
    return (statistics.median(seen) if seen else None), (statistics.median(other) if other else None)


def validation(summary, fit):
    """Rows (workload, mode, nodes, measured, predicted, error), of several nodes with an emulated network."""
    network = network_of(summary.about["emulate"])
    found = []
    if network is None:
        return found
    for workload in summary.workloads:
        for mode in summary.modes_of(workload):
            if mode == "native":
                continue
            model = Model(summary, workload, mode, fit)
            for nodes, cell in model.cells.items():
                if nodes == 1:
                    continue
                told = model.on_this_machine(nodes, network)
                found.append((workload, mode, nodes, cell.median, told, told / cell.median - 1))
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("raw", type=pathlib.Path, help="a raw.csv of scripts/compare")
    parser.add_argument("--network", choices=NETWORKS, default="rdma", help="for the predictions (rdma)")
    parser.add_argument("--fit", default="2,4", help="the node counts that the model may see (2,4)")
    parser.add_argument("--nodes", default="1,2,8,64,1000", help="for the predictions (1,2,8,64,1000)")
    options = parser.parse_args()
    fit = [int(word) for word in options.fit.split(",")]
    try:
        summary = rows.Summary(rows.read(options.raw))
    except OSError as problem:
        sys.exit(f"model: cannot read {options.raw}: {problem.strerror}; scripts/compare --out DIR makes DIR/raw.csv")
    except rows.Refused as problem:
        sys.exit(f"model: {problem}")
    checked = validation(summary, fit)
    if checked:
        network = summary.about["emulate"]
        print(f"measured with --emulate {network}, beside the model (which has seen {options.fit} nodes):")
        for workload, mode, nodes, measured, told, error in checked:
            seen = " " if nodes in fit else "*"
            print(f"  {workload:15} {mode:8} {nodes:3}{seen} {measured:12.4g} {told:12.4g} {100 * error:+7.0f} %")
        seen, other = median_errors(checked, fit)
        errors = ((seen, "of node counts it has seen"), (other, "of others (*)"))
        words = [f"{100 * error:.0f} % {of}" for error, of in errors if error is not None]
        print(f"  median error {'; '.join(words)}")
    print(f"\npredicted operations a second, one machine a node, network {options.network}:")
    counts = [int(word) for word in options.nodes.split(",")]
    print(f"  {'':24}" + "".join(f"{n:>12}" for n in counts))
    for workload in summary.workloads:
        for mode in summary.modes_of(workload):
            if mode == "native":
                continue
            model = Model(summary, workload, mode, fit)
            rates = [model.on_cluster(n, NETWORKS[options.network]) for n in counts]
            print(f"  {workload:15} {mode:8}" + "".join(f"{rate:12.4g}" for rate in rates))
    return 0


if __name__ == "__main__":
    sys.exit(main())
