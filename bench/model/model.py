#!/usr/bin/env python3
"""Predicts throughput on 1 to 1,000 nodes from counts that were measured on a few. README.md beside it says how.

  bench/model/model.py RAW.csv [--network rdma] [--fit 2,4] [--nodes 1,8,64,1000]

RAW.csv is a raw.csv of scripts/compare. If it was made with an emulated network, what the model says of that machine is
put beside what was measured there, node count by node count, with the error.
"""

import argparse
import dataclasses
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

# How a count for each operation grows with the nodes n; each is 0 on one node.
LAWS = {
    "a share of the data is elsewhere": lambda n: (n - 1) / n,
    "more nodes meet on what is shared": lambda n: (n - 1) / n * (1 + (n - 2) / 4) if n <= 8 else 2.5 * 7 / 8,
    "every node gets a copy": lambda n: n - 1,
}
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
    name: str
    factor: float

    def at(self, nodes):
        return self.factor * LAWS[self.name](nodes)


def fitted(points):
    """The law with one factor that the points {nodes: count} follow best."""
    best = None
    for name, law in LAWS.items():
        pairs = [(law(n), count) for n, count in points.items() if n > 1]
        factor = sum(x * y for x, y in pairs) / sum(x * x for x, _ in pairs) if pairs else 0
        miss = sum((factor * x - y) ** 2 / max(y, 1e-12) ** 2 for x, y in pairs)
        if best is None or miss < best[0] - 1e-9:
            best = (miss, Law(name, factor))
    return best[1]


class Model:
    """One workload in one mode."""

    def __init__(self, summary, workload, mode, fit):
        self.load = workloads.ALL[workload]
        self.threads = int(summary.about["threads"])
        cells = {n: summary.cell(workload, n, mode) for n in summary.nodes(workload)}
        self.cells = {n: cell for n, cell in cells.items() if cell}
        known = {n: cell for n, cell in self.cells.items() if n in fit} or self.cells
        self.laws = {
            name: fitted({n: cell.per_operation(*counters) for n, cell in known.items()})
            for name, counters in COUNTS.items()
        }
        network = network_of(summary.about["emulate"])
        self.cpu_ns = statistics.median(self.compute_ns(cell, network) for cell in known.values())
        alone = self.cells.get(1)
        self.alone_ns = self.compute_ns(alone, network) if alone else self.cpu_ns

    @staticmethod
    def compute_ns(cell, network):
        """Processor time for an operation; the emulated network's, which is spent waiting in a loop, is not part of it."""
        used = cell.per_operation("cpu_ns")
        if network:
            used -= cell.per_operation("round_trips") * network.latency_ns
            used -= 1000 * cell.per_operation("bytes_read", "bytes_written") / network.bytes_per_us
        return max(used, 0.05 * cell.per_operation("cpu_ns"))

    def wire_ns(self, nodes, network):
        trips, bytes_moved = self.laws["round_trips"].at(nodes), self.laws["bytes"].at(nodes)
        return trips * network.latency_ns + 1000 * bytes_moved / network.bytes_per_us

    def compute_at(self, nodes):
        return self.alone_ns if nodes == 1 else self.cpu_ns

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

    def on_this_machine(self, nodes, network, cores, machine_cores):
        """The same with all nodes on one machine; its cores, of which others may have a part, also wait for the wire."""
        busy = self.compute_at(nodes) + self.wire_ns(nodes, network)
        whole = busy + self.laws["messages"].at(nodes) * network.message_ns
        workers = nodes * self.threads
        return min(1e9 * workers / whole * min(cores / machine_cores, 1), 1e9 * cores / busy)


def cores_for(summary, workload, nodes):
    """What native mode got of the machine's cores, with as many threads: others may have been using them."""
    cores = int(summary.about["cores"])
    native = summary.cell(workload, nodes, "native")
    if native is None:
        return cores
    workers = nodes * int(summary.about["threads"])
    used = native.per_operation("cpu_ns") * workers / native.worker_ns()
    return min(cores, cores * used / min(workers, cores))


def validation(summary, fit):
    """Rows (workload, mode, nodes, measured, predicted, error), of a comparison with an emulated network."""
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
                cores = cores_for(summary, workload, nodes)
                told = model.on_this_machine(nodes, network, cores, int(summary.about["cores"]))
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
    except (OSError, rows.Refused) as problem:
        sys.exit(f"model: {problem}")
    checked = validation(summary, fit)
    if checked:
        print(f"measured with --emulate {summary.about['emulate']}, beside the model (which has seen {options.fit} nodes):")
        for workload, mode, nodes, measured, told, error in checked:
            seen = " " if nodes in fit else "*"
            print(f"  {workload:15} {mode:8} {nodes:3}{seen} {measured:12.4g} {told:12.4g} {100 * error:+7.0f} %")
        errors = [abs(row[-1]) for row in checked]
        held = [abs(row[-1]) for row in checked if row[2] not in fit]
        print(f"  median error {100 * statistics.median(errors):.0f} %", end="")
        print(f"; of node counts it has not seen (*) {100 * statistics.median(held):.0f} %" if held else "")
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
