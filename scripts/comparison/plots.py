"""The plots of a comparison, each a string of SVG."""

from comparison import svg, tables, workloads

# Where a worker's time goes, as far as counters tell, and its colour.
TIMES = (
    ("page faults served at once", "fault_latency_ns", "#e6ab02"),
    ("page faults that wait for another node", "wait_latency_ns", "#d95f02"),
    ("locks that had to be fetched", "lock_latency_ns", "#b2182b"),
)
REST = ("the rest: computing, borrows, local locks", "#a9c5dd")


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
    for shift, mode in enumerate(summary.modes):
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
    modes = [mode for mode in summary.modes if mode != "native"]
    nodes, load = summary.nodes(workload)[-1], workloads.ALL[workload]
    row, panel = 20, 225
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
            drawing.text(left + 44, y + 12, mode, "end", 11, "#555")
            drawing.bar(left + 50, y, 105 * value / most, row - 5, svg.COLOURS[mode])
            drawing.text(left + 54 + 105 * value / most, y + 12, tables.short(value), size=11)
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


def time_parts(cell):
    """Shares of a worker's time; the last is the rest. Histograms are coarse: their sum may exceed the whole."""
    whole = max(cell.worker_ns(), 1e-9)
    shares = [cell.per_operation(counter) / whole for _, counter, _ in TIMES]
    too_much = max(1.0, sum(shares))
    shares = [share / too_much for share in shares]
    return [*shares, 1 - sum(shares)]


def times(summary):
    """One bar for each workload and mode on the most nodes, 100 % of the workers' time wide."""
    rows = []
    for workload in summary.workloads:
        nodes = summary.nodes(workload)[-1]
        for mode in summary.modes:
            cell = summary.cell(workload, nodes, mode)
            if cell and mode != "native":
                rows.append((f"{workload}, {mode}", cell))
    height, left, right, top = 21, 190, 760, 50
    drawing = svg.Drawing(900, top + 24 + height * len(rows), "Where the workers' time goes")
    for i, (name, colour) in enumerate([*((title, colour) for title, _, colour in TIMES), REST]):
        x, y = left + i % 2 * 260, 6 + i // 2 * 18
        drawing.bar(x, y, 12, 12, colour)
        drawing.text(x + 17, y + 10, name, size=11)
    for i, (name, cell) in enumerate(rows):
        y, x = top + i * height, left
        drawing.text(left - 8, y + 12, name, "end", 12)
        for share, colour in zip(time_parts(cell), [*(colour for _, _, colour in TIMES), REST[1]]):
            drawing.bar(x, y, share * (right - left), height - 5, colour, f"{100 * share:.0f} %")
            x += share * (right - left)
        drawing.text(right + 8, y + 12, f"{tables.duration(cell.worker_ns())}/operation", size=11)
    for percent in (0, 25, 50, 75, 100):
        at = left + percent / 100 * (right - left)
        drawing.text(at, top + 14 + height * len(rows), f"{percent} %", "middle", 11, "#555")
    return drawing.done()
