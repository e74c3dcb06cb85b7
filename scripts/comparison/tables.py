"""The tables of a comparison, for the terminal and in Markdown."""

from comparison import runs, workloads

# What moved for each operation: a title and the counters that add up to it.
MOVED = (
    ("messages", ("message_sent",)),
    ("bytes moved", ("bytes_read", "bytes_written")),
    ("one-sided operations", ("op_read", "op_write", "op_atomic")),
    ("page faults", ("fault_read", "fault_write")),
    ("round trips", ("round_trips",)),
)


LATENCIES = (
    ("latency_p10", "10"),
    ("latency_p50", "50"),
    ("latency_p90", "90"),
    ("latency_p99", "99"),
    ("latency_p999", "99.9"),
)


def short(value):
    """1234567 as 1.23 M; what is smaller than 1 with two digits that count."""
    for limit, letter in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= limit * 0.9995:
            return f"{value / limit:.3g}{letter}" if value < limit * 999.5 else f"{value / limit:.0f}{letter}"
    if value == 0:
        return "0"
    return f"{value:.3g}" if value >= 1 else f"{value:.2g}" if value >= 0.001 else f"{value:.1e}"


def times(ratio):
    if ratio is None:
        return ""
    return (
        f"{ratio:.2g}x"
        if ratio < 0.1
        else f"{ratio:.2f}x"
        if ratio < 2
        else f"{ratio:.1f}x"
        if ratio < 10
        else f"{ratio:.0f}x"
    )


def duration(ns):
    for limit, unit in ((1e9, "s"), (1e6, "ms"), (1e3, "µs")):
        if ns >= limit * 0.9995:
            return f"{short(ns / limit)} {unit}"
    return f"{short(ns)} ns"


count_of_nodes = workloads.count_of_nodes


def machine_sentence(summary):
    about = summary.about
    network = "no emulated network" if about["emulate"] == "none" else f"emulated network {about['emulate']}"
    return (
        f"{about['processor']}, {about['cores']} cores, {about['memory_gib']} GiB, Linux {about['kernel']}, host "
        f"{about['host']}, load average {summary.load_low:g} to {summary.load_high:g}; all nodes on "
        f"this host, transport {about['transport']}, {network}, fault engine "
        f"{' and '.join(summary.engines) or 'none'}; {about['threads']} thread(s) a node; size {about['size']}, seed "
        f"{about['seed']}; commit {about['commit']}"
    )


def rate(cell):
    return short(cell.median) if cell.runs == 1 else f"{short(cell.median)} ±{100 * cell.spread():.0f}%"


def rate_rows(summary, workload):
    """A head and rows: throughput by nodes and mode, with the gain over page mode."""
    modes = summary.modes_of(workload)
    gains = [mode for mode in ("hinted", "owned") if mode in modes and "page" in modes]
    head = ["nodes", *modes, *(f"{mode}:page" for mode in gains)]
    body = []
    for nodes in summary.nodes(workload):
        cells = [summary.cell(workload, nodes, mode) for mode in modes]
        body.append(
            [
                str(nodes),
                *(rate(cell) if cell else "" for cell in cells),
                *(times(summary.gain(workload, nodes, mode)) for mode in gains),
            ]
        )
    return head, body


def moved_rows(summary, workload):
    modes = [mode for mode in summary.modes_of(workload) if mode != "native"]
    load = workloads.ALL[workload]
    head = [load.each(), *modes]
    nodes = summary.nodes(workload)[-1]
    body = []
    for title, counters in MOVED:
        cells = [summary.cell(workload, nodes, mode) for mode in modes]
        body.append([title, *(short(load.per * cell.per_operation(*counters)) if cell else "" for cell in cells)])
    cells = [summary.cell(workload, nodes, mode) for mode in modes]
    if any(cell and cell.beside_least() for cell in cells):
        body.append(["bytes moved : least", *(times(cell.beside_least()) if cell else "" for cell in cells)])
    return head, body


def latency_rows(summary, workload):
    nodes = summary.nodes(workload)[-1]
    head = [workloads.ALL[workload].request, *(f"{part} %" for _, part in LATENCIES)]
    body = []
    for mode in summary.modes_of(workload):
        cell = summary.cell(workload, nodes, mode)
        if cell and cell.median_of("latency_p50"):
            body.append([mode, *(duration(cell.median_of(name)) for name, _ in LATENCIES)])
    return head, body


def perf_sentence(summary):
    """Which counters this machine has."""
    names = {name: name.replace("_", " ") for name in summary.perf}
    mine = [names[name] for name in runs.PERF_PROCESSOR if name in names]
    kernels = [names[name] for name in runs.PERF_KERNEL if name in names]
    if mine:
        return f"The processor counted {', '.join(mine)} (libpfm4, workers only)."
    if kernels:
        return (
            "This machine shows no processor counters (or libpfm4 is missing), so these are the kernel's: "
            f"{', '.join(kernels)}, of the workers."
        )
    return "Neither the processor's nor the kernel's counters can be had on this machine."


def perf_rows(summary):
    names = [name for name in runs.PERF_PROCESSOR if name in summary.perf] or summary.perf
    head = ["on the most nodes", *(name.replace("_", " ") for name in names)]
    body = []
    for workload in summary.workloads:
        load, nodes = workloads.ALL[workload], summary.nodes(workload)[-1]
        for mode in summary.modes_of(workload):
            cell = summary.cell(workload, nodes, mode)
            if cell:
                values = [short(load.per * cell.per_operation(f"perf_{name}")) for name in names]
                body.append([f"{workload}, {mode}, {load.each()}", *values])
    return head, body


def aligned(head, body):
    widths = [max(len(row[i]) for row in [head, *body]) for i in range(len(head))]
    lines = ["  ".join(text.rjust(width) for text, width in zip(row, widths)) for row in [head, *body]]
    return "\n".join(lines)


def terminal(summary):
    parts = []
    for name in summary.workloads:
        title = f"{name}: {workloads.ALL[name].title} ({summary.unit(name)}/s, median of {summary.repeat})"
        parts.append(title + "\n" + aligned(*rate_rows(summary, name)))
    note = (
        "±: half the distance between the quartiles; hinted:page and owned:page: how many times page mode's throughput"
    )
    return "\n\n".join([*parts, note])


def grid(head, body):
    lines = ["| " + " | ".join(row) + " |" for row in [head, ["---:"] * len(head), *body]]
    return "\n".join(lines)


def markdown(summary, goals):
    parts = [
        "# Page mode versus object mode",
        f"Measured on {machine_sentence(summary)}.",
        f"Medians of {summary.repeat} runs, ± half the distance between the quartiles. The modes ran by turns, "
        "and all modes of a row gave the same checksum. `native` is one process with as many threads as all nodes "
        "have; `hinted:page` and `owned:page` say how many times page mode's throughput object mode reaches.",
    ]
    if goals[1]:
        parts += ["## Goals", grid(*goals)]
    for name in summary.workloads:
        load = workloads.ALL[name]
        parts += [f"## {name}: {load.title}", load.about, f"Throughput, {summary.unit(name)}/s:"]
        parts.append(grid(*rate_rows(summary, name)))
        head, body = moved_rows(summary, name)
        if len(head) > 1:
            parts += [
                f"What moved on {count_of_nodes(summary.nodes(name)[-1])}, while it was measured:",
                grid(head, body),
            ]
        if latency_rows(summary, name)[1]:
            where = count_of_nodes(summary.nodes(name)[-1])
            parts += [f"How long it took, on {where}, so many per cent of all at the most:"]
            parts += [grid(*latency_rows(summary, name))]
    if summary.perf:
        parts += ["## Counters", perf_sentence(summary), grid(*perf_rows(summary))]
    return "\n\n".join(parts) + "\n"
