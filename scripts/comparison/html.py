"""The report as one HTML file that needs nothing beside it."""

from html import escape

from comparison import goals, plots, prediction, tables, workloads

STYLE = """
body { font: 15px/1.5 "DejaVu Sans", system-ui, sans-serif; color: #222; }
body { max-width: 1100px; margin: 2em auto; padding: 0 1em; }
h1 { font-size: 1.7em; } h2 { font-size: 1.25em; margin-top: 2em; border-bottom: 1px solid #ddd; }
table { border-collapse: collapse; margin: .6em 0; font-size: 14px; }
th, td { padding: .2em .8em; text-align: right; border-bottom: 1px solid #e5e5e5; } th { background: #f5f5f5; }
svg { display: block; font-family: "DejaVu Sans", system-ui, sans-serif; }
svg { margin: .6em 0; max-width: 100%; height: auto; }
.small { color: #555; font-size: 13px; } .legend span { margin-right: 1.4em; white-space: nowrap; }
.swatch { display: inline-block; width: .8em; height: .8em; margin: 0 .35em 0 0 !important; vertical-align: -1px; }
.pair { display: flex; flex-wrap: wrap; gap: 10px; align-items: flex-start; }
.pair > svg { flex: 0 1 auto; max-width: 48%; }
"""

MODES = {
    "native": "threads of one process, plain memory",
    "page": "plain pointers, page faults",
    "hinted": "borrows of plain pointers",
    "owned": "dsm::own_ptr, and work that goes to the owner",
    "message": "no shared memory, serialised messages",
    **{f"hints-{i}": f"page mode with {i} hint{'s' if i > 1 else ''}" for i in range(1, 5)},
}


def legend(summary):
    spans = [
        f'<span><i class="swatch" style="background:{plots.svg.COLOURS[mode]}"></i><b>{mode}</b>: {MODES[mode]}</span>'
        for mode in summary.modes
    ]
    return f'<p class="legend">{"".join(spans)}</p>'


def table(head, body):
    rows = ["<tr>" + "".join(f"<th>{escape(text)}</th>" for text in head) + "</tr>"]
    rows += ["<tr>" + "".join(f"<td>{escape(text)}</td>" for text in row) + "</tr>" for row in body]
    return f"<table>{''.join(rows)}</table>"


def headline(summary):
    """The largest and the smallest gain of object mode, in one sentence each."""
    gains = [
        (summary.gain(workload, nodes, mode), workload, nodes, mode)
        for workload in summary.workloads
        for nodes in summary.nodes(workload)
        for mode in ("hinted", "owned")
        if nodes > 1 and summary.gain(workload, nodes, mode)
    ]
    if not gains:
        return ""
    best, worst = max(gains), min(gains)

    def told(entry):
        ratio, workload, nodes, mode = entry
        return f"{ratio:.2g} times page mode's throughput in {mode} mode ({workload}, {nodes} nodes)"

    if best == worst:
        return f"Object mode reaches {told(best)}."
    return f"Over all workloads with more than one node, object mode reaches from {told(worst)} to {told(best)}."


def introduction(summary):
    return (
        "<p>The same programs did the same operations in several modes: as threads of one process (<b>native</b>), on "
        "several nodes that share memory page by page (<b>page</b> mode), and on nodes that say which object they use "
        "(<b>hinted</b> and <b>owned</b>, the two forms of object mode). You see how fast each was, what moved between "
        f"the nodes for it, and where the time went. {escape(headline(summary))} All modes computed the same results; "
        "a run with another checksum would have been refused.</p>"
        f'<p class="small">The machine: {escape(tables.machine_sentence(summary))}. Medians of {summary.repeat} runs, '
        "the modes by turns; ±: half the distance between the quartiles; whiskers: from the worst run to the best. "
        "Latencies, on the most nodes: the bar is from 10 to 90 % of all, the line "
        "goes on to 99.9 %, the mark is the median and the dot 99 %. "
        "Where there are more nodes than cores, nodes wait for a core as well as for each other.</p>"
    )


def section(summary, name):
    load = workloads.ALL[name]
    parts = [f"<h2>{escape(name)}: {escape(load.title)}</h2><p>{escape(load.about)}</p>"]
    parts.append(f'<div class="pair">{plots.throughput(summary, name)}{plots.latencies(summary, name)}</div>')
    gained = plots.hints(summary, name)
    if gained:
        parts.append("<p>What each hint adds:</p>" + gained)
    parts.append(table(*tables.rate_rows(summary, name)))
    parts.append(f'<p class="small">Throughput in {escape(summary.unit(name))} per second.</p>')
    if any(mode != "native" for mode in summary.modes):
        nodes = summary.nodes(name)[-1]
        parts.append(f"<p>What moved between the nodes {load.each()}, on {tables.count_of_nodes(nodes)}:</p>")
        parts.append(plots.moved(summary, name))
        least = [row for row in tables.moved_rows(summary, name)[1] if row[0].endswith("least")]
        if least:
            modes = tables.moved_rows(summary, name)[0][1:]
            told = ", ".join(f"{mode} {ratio}" for mode, ratio in zip(modes, least[0][1:]))
            parts.append(f'<p class="small">Bytes beside the least that this distribution has to move: {told}.</p>')
    return "".join(parts)


def page(summary):
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Page mode versus object mode</title>',
        f"<style>{STYLE}</style></head><body><h1>Page mode versus object mode</h1>",
        introduction(summary),
        legend(summary),
    ]
    gains = plots.gain(summary)
    if gains:
        parts.append("<h2>Object mode's throughput beside page mode's</h2>")
        parts.append(
            "<p>Bars to the right of 1x: object mode is faster; to the left: page mode is. Logarithmic.</p>" + gains
        )
    if goals.found(summary):
        parts.append(f"<h2>Goals</h2><p>{escape(goals.sentence(summary))}</p>" + table(*goals.rows(summary)))
    parts += [section(summary, name) for name in summary.workloads]
    if any(mode != "native" for mode in summary.modes):
        parts.append("<h2>Where the workers' time goes</h2>" + plots.times(summary))
        parts.append(
            '<p class="small">On the most nodes. Computing is the processor time that native mode takes with as many '
            "threads. Faults and locks are counted by powers of two, so a share may be off by half. Transfers are "
            "round trips and bytes at the emulated network's figures; without one they are within faults and "
            "other processor time.</p>"
        )
    if summary.perf:
        parts.append(f"<h2>Counters</h2><p>{escape(tables.perf_sentence(summary))}</p>")
        parts.append(table(*tables.perf_rows(summary)))
    parts.append(prediction.section(summary))
    return "".join(parts) + "</body></html>\n"
