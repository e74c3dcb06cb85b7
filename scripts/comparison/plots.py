"""The plots of a comparison, each a string of SVG."""

from comparison import svg, tables, workloads

# Where a worker's time goes, and the colours.
TIMES = (
    ("computing: what native mode takes", "#7a7a7a"),
    ("transfers: round trips and bytes on the emulated network", "#6a5acd"),
    ("page faults served at once", "#e6ab02"),
    ("page faults that wait for another node", "#d95f02"),
    ("locks that had to be fetched", "#b2182b"),
    ("other processor time: borrows, messages, copies", "#1b9e77"),
    ("not running: waiting for a core or for somebody", "#d7e1ea"),
)


def throughput(summary, workload):
    """Lines over the number of nodes, a line a mode; whiskers from the worst run to the best."""
    drawing = svg.Drawing(500, 270, f"Throughput of {workload} by nodes and mode")
    nodes = summary.nodes(workload)
    cells = {key: cell for key, cell in summary.cells.items() if key[0] == workload}
    scale = svg.LogScale(min(c.low for c in cells.values()), max(c.high for c in cells.values()), 225, 30)
    left, right = 62, 370

    def across(count):
        return (
            (left + right) / 2
            if len(nodes) == 1
            else left + 25 + (right - left - 50) * nodes.index(count) / (len(nodes) - 1)
        )

    for value in scale.ticks():
        drawing.line(left, scale.at(value), right, scale.at(value), "#ddd")
        drawing.text(left - 6, scale.at(value) + 4, tables.short(value), "end", 11, "#555")
    for count in nodes:
        drawing.text(across(count), 243, str(count), "middle", 11, "#555")
    drawing.text((left + right) / 2, 262, "nodes", "middle", 12, "#555")
    drawing.text(left - 6, 16, f"{summary.unit(workload)}/s (logarithmic)", "start", 11, "#555")
    ends = []
    for shift, mode in enumerate(summary.modes_of(workload)):
        colour, offset = svg.COLOURS[mode], 3 * shift - 4.5
        drawn = [(across(n) + offset, cells[workload, n, mode]) for n in nodes if (workload, n, mode) in cells]
        drawing.path([(x, scale.at(cell.median)) for x, cell in drawn], colour)
        for x, cell in drawn:
            drawing.line(x, scale.at(cell.low), x, scale.at(cell.high), colour, 1.5)
            drawing.dot(x, scale.at(cell.median), colour, f"{mode}: {tables.short(cell.median)}")
        if drawn:
            ends.append([scale.at(drawn[-1][1].median), mode, tables.short(drawn[-1][1].median)])
    ends.sort()
    for i, (y, mode, rate) in enumerate(ends):  # labels keep 14 apart
        y = ends[i][0] = max(y, ends[i - 1][0] + 14) if i else y
        drawing.text(right + 4, y + 4, f"{mode} {rate}", "start", 11, svg.COLOURS[mode], bold=True)
    return drawing.done()


def moved(summary, workload):
    """Four small panels of bars: what moved for each operation on the most nodes."""
    modes = [mode for mode in summary.modes_of(workload) if mode != "native"]
    nodes, load = summary.nodes(workload)[-1], workloads.ALL[workload]
    row, panel = 20, 190
    drawing = svg.Drawing(
        len(tables.MOVED) * panel, 34 + row * len(modes), f"What moved for each operation of {workload}"
    )
    for i, (title, counters) in enumerate(tables.MOVED):
        left = i * panel
        drawing.text(left, 16, title, bold=True)
        cells = {mode: summary.cell(workload, nodes, mode) for mode in modes}
        values = {mode: load.per * cell.per_operation(*counters) for mode, cell in cells.items() if cell}
        most = max([*values.values(), 1e-12])
        for j, (mode, value) in enumerate(values.items()):
            y = 26 + j * row
            drawing.text(left + 50, y + 12, mode, "end", 11, "#555")
            drawing.bar(left + 56, y, 75 * value / most, row - 5, svg.COLOURS[mode])
            drawing.text(left + 60 + 75 * value / most, y + 12, tables.short(value), size=11)
    return drawing.done()


def gain(summary):
    """Bars from 1: how many times page mode's throughput object mode reaches."""
    rows = [
        (f"{workload}, {tables.count_of_nodes(nodes)}", mode, summary.gain(workload, nodes, mode))
        for workload in summary.workloads
        for nodes in summary.nodes(workload)
        for mode in ("hinted", "owned")
    ]
    rows = [entry for entry in rows if entry[2]]
    if not rows:
        return ""
    height, left, right = 19, 190, 800
    drawing = svg.Drawing(900, 40 + height * len(rows), "Object mode's throughput beside page mode's")
    scale = svg.LogScale(min(0.9, *(r[2] for r in rows)), max(1.1, *(r[2] for r in rows)), left, right)
    bottom = 14 + height * len(rows)
    for value in scale.ticks():
        drawing.line(
            scale.at(value), 8, scale.at(value), bottom, "#444" if value == 1 else "#ddd", 1.5 if value == 1 else 1
        )
        drawing.text(scale.at(value), bottom + 16, f"{value:g}x", "middle", 11, "#555")
    for i, (where, mode, ratio) in enumerate(rows):
        y = 12 + i * height
        if i == 0 or rows[i - 1][0] != where:
            drawing.text(left - 12, y + 12, where, "end", 12)
            if i:
                drawing.line(left - 170, y - 2.5, right, y - 2.5, "#eee")
        begin, end = sorted((scale.at(1), scale.at(ratio)))
        drawing.bar(begin, y, end - begin, height - 5, svg.COLOURS[mode], f"{where}: {mode} {tables.times(ratio)}")
        words = f"{tables.times(ratio)} {mode}"
        drawing.text(max(end, scale.at(1)) + 5, y + 12, words, size=11)
    return drawing.done()


def time_parts(summary, workload, mode):
    """Shares of a worker's time. Faults are counted by powers of two, so parts may have to shrink."""
    nodes = summary.nodes(workload)[-1]
    cell, native = summary.cell(workload, nodes, mode), summary.cell(workload, nodes, "native")
    whole = max(cell.worker_ns(), 1e-9)
    clocks = "task_clock_ns" in summary.perf
    busy = cell.per_operation("perf_task_clock_ns") if clocks else whole
    compute = 0
    if native:
        compute = min(native.per_operation("perf_task_clock_ns") if clocks else native.worker_ns(), busy)
    transfers = 0
    if network := network_of(summary):
        latency_ns, bytes_per_us = network
        transfers = latency_ns * cell.per_operation("round_trips")
        transfers += 1000 * cell.per_operation("bytes_read", "bytes_written") / bytes_per_us
    faults = cell.per_operation("fault_latency_ns")
    if faults > 0:  # what they transfer is within them
        faults = max(faults - transfers, 0)
    waits, locks = cell.per_operation("wait_latency_ns"), cell.per_operation("lock_latency_ns")
    other = max(busy - compute - transfers - faults, 0)
    room, shown = whole, []
    for part in (compute, transfers, faults, waits, locks, other):
        shown.append(min(part, room))
        room -= shown[-1]
    return [part / whole for part in [*shown, room]]


def network_of(summary):
    """Latency of a round trip in ns, and bytes per microsecond; None without an emulated network."""
    known = {"rdma": (2000, 5000), "tcp": (25000, 1100), "none": None}
    name = summary.about["emulate"]
    if name in known:
        return known[name]
    numbers = name.split(":")
    return int(numbers[0]), int(numbers[1])


def times(summary):
    """One bar for each workload and mode on the most nodes, 100 % of the workers' time wide."""
    rows = []
    for workload in summary.workloads:
        nodes = summary.nodes(workload)[-1]
        for mode in summary.modes_of(workload):
            if mode != "native" and summary.cell(workload, nodes, mode):
                rows.append((workload, mode))
    height, left, right, top = 21, 190, 760, 86
    drawing = svg.Drawing(900, top + 24 + height * len(rows), "Where the workers' time goes")
    for i, (name, colour) in enumerate(TIMES):
        x, y = left + i % 2 * 330, 6 + i // 2 * 18
        drawing.bar(x, y, 12, 12, colour)
        drawing.text(x + 17, y + 10, name, size=11)
    for i, (workload, mode) in enumerate(rows):
        y, x = top + i * height, left
        cell = summary.cell(workload, summary.nodes(workload)[-1], mode)
        if i and rows[i - 1][0] != workload:
            drawing.line(left - 180, y - 3, right, y - 3, "#ddd")
        drawing.text(left - 8, y + 12, f"{workload}, {mode}", "end", 12)
        for share, (_, colour) in zip(time_parts(summary, workload, mode), TIMES):
            drawing.bar(x, y, share * (right - left), height - 5, colour, f"{100 * share:.0f} %")
            x += share * (right - left)
        drawing.text(right + 8, y + 12, f"{tables.duration(cell.worker_ns())}/operation", size=11)
    for percent in (0, 25, 50, 75, 100):
        at = left + percent / 100 * (right - left)
        drawing.text(at, top + 14 + height * len(rows), f"{percent} %", "middle", 11, "#555")
    return drawing.done()


def latencies(summary, workload):
    """A row a mode: a bar from 10 to 90 per cent, a line on to 99.9, marks at the median and at 99."""
    nodes = summary.nodes(workload)[-1]
    rows = []
    for mode in summary.modes_of(workload):
        cell = summary.cell(workload, nodes, mode)
        if cell and cell.median_of("latency_p50"):
            rows.append((mode, [cell.median_of(name) for name, _ in tables.LATENCIES]))
    if not rows:
        return ""
    left, right, height = 70, 420, 24
    drawing = svg.Drawing(500, 46 + height * len(rows), f"Latencies of {workload}")
    scale = svg.LogScale(min(r[1][0] for r in rows), max(r[1][-1] for r in rows), left, right)
    bottom = 12 + height * len(rows)
    for value in scale.ticks():
        drawing.line(scale.at(value), 6, scale.at(value), bottom, "#ddd")
        drawing.text(scale.at(value), bottom + 15, tables.duration(value), "middle", 11, "#555")
    for i, (mode, (p10, p50, p90, p99, p999)) in enumerate(rows):
        y, colour = 10 + i * height, svg.COLOURS[mode]
        drawing.text(left - 8, y + 12, mode, "end", 12)
        drawing.line(scale.at(p90), y + 8, scale.at(p999), y + 8, colour, 1.5)
        drawing.bar(scale.at(p10), y + 2, max(scale.at(p90) - scale.at(p10), 2), 12, colour, tables.duration(p50))
        drawing.line(scale.at(p50), y - 1, scale.at(p50), y + 17, "#222", 2.5)
        drawing.dot(scale.at(p99), y + 8, colour, f"99 %: {tables.duration(p99)}")
        drawing.text(right + 8, y + 12, tables.duration(p50), size=11)
    drawing.text(left, bottom + 31, f"{workloads.ALL[workload].request}", size=11, colour="#555")
    return drawing.done()


def hints(summary, workload):
    """Bars: throughput beside page mode's, by the number of hints."""
    nodes = summary.nodes(workload)[-1]
    steps = ["page", *workloads.HINT_STEPS, "hinted"]
    cells = [summary.cell(workload, nodes, mode) for mode in steps]
    if not all(cells):
        return ""
    left, width, top, bottom = 60, 78, 24, 200
    drawing = svg.Drawing(560, 250, f"Gain of {workload} by the number of hints")
    ratios = [cell.median / cells[0].median for cell in cells]
    most = max(ratios)
    for i, ratio in enumerate(ratios):
        height = (bottom - top) * ratio / most
        x = left + i * width
        drawing.bar(x, bottom - height, width - 22, height, svg.COLOURS[steps[i]])
        drawing.text(x + (width - 22) / 2, bottom - height - 5, tables.times(ratio), "middle", 12, bold=True)
        drawing.text(x + (width - 22) / 2, bottom + 17, str(i), "middle", 12, "#555")
    drawing.line(left - 10, bottom, left + len(steps) * width, bottom, "#444")
    drawing.text(left, bottom + 38, f"hints added, on {tables.count_of_nodes(nodes)}; throughput beside none", size=12)
    return drawing.done()
