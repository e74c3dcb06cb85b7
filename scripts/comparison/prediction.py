"""The cost model's part of the report: its curves beside published figures, and its errors."""

import importlib.util
import pathlib
from html import escape

from comparison import svg, tables, workloads

NODES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000)
FIT = (2, 4)
SYSTEMS = {"DRust": "#111111", "GAM": "#666666", "Grappa": "#aa5555"}


def model():
    path = pathlib.Path(__file__).resolve().parent.parent.parent / "bench/model/model.py"
    spec = importlib.util.spec_from_file_location("dsm_model", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def curves(module, summary, workload, network):
    """By mode: nodes and speed beside native mode's on one node."""
    alone = summary.cell(workload, 1, "native")
    threads = int(summary.about["threads"])
    base = 1e9 * threads / alone.per_operation("cpu_ns") if alone else None
    found = {}
    for mode in summary.modes_of(workload):
        if base is None or mode == "native" or summary.nodes(workload)[-1] < 2:
            continue
        made = module.Model(summary, workload, mode, FIT)
        found[mode] = [(n, made.on_cluster(n, network) / base) for n in NODES]
    return found


def plot(summary, workload, found):
    drawing = svg.Drawing(500, 300, f"Predicted speed of {workload}")
    published = workloads.ALL[workload].published
    values = [y for points in found.values() for _, y in points] + [y for _, y in published]
    left, right, top, bottom = 50, 380, 16, 250
    up = svg.LogScale(min(values), max(values), bottom, top)
    across = svg.LogScale(1, 1000, left, right)
    for value in up.ticks():
        drawing.line(left, up.at(value), right, up.at(value), "#444" if value == 1 else "#ddd")
        drawing.text(left - 6, up.at(value) + 4, f"{value:g}x", "end", 11, "#555")
    for nodes in (1, 8, 64, 1000):
        drawing.line(across.at(nodes), top, across.at(nodes), bottom, "#eee")
        drawing.text(across.at(nodes), bottom + 16, str(nodes), "middle", 11, "#555")
    drawing.text((left + right) / 2, bottom + 34, "nodes (both axes logarithmic)", "middle", 12, "#555")
    ends = []
    for mode, points in found.items():
        drawing.path([(across.at(n), up.at(y)) for n, y in points], svg.COLOURS[mode])
        ends.append([up.at(points[-1][1]), f"{mode} {tables.times(points[-1][1])}", svg.COLOURS[mode]])
    ends.sort()
    for i, (y, words, colour) in enumerate(ends):
        y = ends[i][0] = max(y, ends[i - 1][0] + 14) if i else y
        drawing.text(right + 5, y + 4, words, "start", 11, colour, bold=True)
    label = 0
    for system, times in sorted(published, key=lambda entry: -entry[1]):
        x, y, colour = across.at(8), up.at(times), SYSTEMS[system]
        drawing.bar(x - 4, y - 4, 8, 8, colour, f"{system}, published: {times}x on 8 nodes")
        label = max(y + 4, label + 12)
        drawing.text(x + 8, label, f"{system} {times}x", "start", 10, colour)
    return drawing.done()


def section(summary):
    module = model()
    network = module.NETWORKS["rdma"]
    drawings = []
    for workload in summary.workloads:
        found = curves(module, summary, workload, network)
        if workloads.ALL[workload].published and found:
            drawings.append(f"<div><b>{escape(workload)}</b>{plot(summary, workload, found)}</div>")
    if not drawings:
        return ""
    parts = [
        "<h2>What a cluster would do: predictions beside published figures</h2>",
        "<p>Lines are <b>predictions</b> of bench/model from the counts above (round trips, bytes, messages, processor "
        "time for an operation), for a machine a node and a network of 2 µs and 40 Gb/s, beside native mode's "
        "processor time on one node. Squares are <b>published</b> by DRust's authors (OSDI'24, 8 nodes of 16 cores, "
        "40 Gb/s; other programs "
        "of the same kind on other machines, each beside its own run on one node). Nothing here was run on 8 "
        "machines by us. The model knows no queues: hot pages and locks are predicted too well.</p>",
        f'<div class="pair">{"".join(drawings)}</div>',
    ]
    checked = module.validation(summary, FIT)
    if checked:
        seen, other = module.median_errors(checked, FIT)
        errors = [f"{100 * seen:.0f} % there" if seen is not None else ""]
        errors += [f"{100 * other:.0f} % on other numbers of nodes, which it has not seen" if other is not None else ""]
        head = ["workload", "mode", "nodes", "measured", "model", "error"]
        body = [
            [load, mode, str(nodes), tables.short(got), tables.short(told), f"{100 * error:+.0f} %"]
            for load, mode, nodes, got, told, error in checked
        ]
        cells = "".join("<tr>" + "".join(f"<td>{escape(word)}</td>" for word in row) + "</tr>" for row in body)
        parts.append(
            f"<p>The model beside these emulated runs (it has seen 2 and 4 nodes): median error "
            f"{', '.join(word for word in errors if word)}.</p><details><summary>Every run</summary><table><tr>"
            + "".join(f"<th>{word}</th>" for word in head)
            + f"</tr>{cells}</table></details>"
        )
    return "".join(parts)
