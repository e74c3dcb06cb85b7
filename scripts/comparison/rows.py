"""The rows of raw.csv: writing, reading, checking that they can be compared, and their medians."""

import csv
import statistics

from comparison import runs, tables, workloads

# What must be the same in all rows, and what in all rows of one workload and number of nodes.
SAME_EVERYWHERE = ("commit", "host", "processor", "cores", "kernel", "threads", "transport", "emulate", "seed", "size")
SAME_RESULT = ("parameters", "unit", "operations", "checksum")


class Refused(Exception):
    exit_code = 3


def rotated(modes, by):
    by %= len(modes)
    return modes[by:] + modes[:by]


def check_pair(one, other):
    here = f"{other['workload']}, {tables.count_of_nodes(int(other['nodes']))}"
    for field in SAME_EVERYWHERE:
        if str(one[field]) != str(other[field]):
            raise Refused(
                f"these runs cannot be compared: {field} is {one[field]} for one and {other[field]} for the other "
                f"({here})."
            )
    if "none" not in (one["engine"], other["engine"]) and one["engine"] != other["engine"]:
        raise Refused(
            f"these runs cannot be compared: the fault engines are {one['engine']} and {other['engine']} ({here})."
        )
    if (one["workload"], str(one["nodes"])) != (other["workload"], str(other["nodes"])):
        return
    for field in SAME_RESULT:
        if str(one[field]) != str(other[field]):
            what = "the results differ" if field == "checksum" else "the runs did different work"
            raise Refused(
                f"{what} ({here}): {field} is {one[field]} in {one['mode']} mode, run {one['repetition']}, and "
                f"{other[field]} in {other['mode']} mode, run {other['repetition']}. Nothing is compared."
            )


def check_with(found, row):
    """Refuses a row that cannot stand beside those before it."""
    for one in found:
        check_pair(one, row)


class Writer:
    """Writes each row when it is there, behind those of before, so that nothing measured is lost."""

    def __init__(self, path, before):
        self.file = open(path, "a", newline="", encoding="utf-8")  # pylint: disable=consider-using-with
        self.csv = csv.DictWriter(self.file, before[0].keys(), lineterminator="\n") if before else None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def write(self, row):
        if self.csv is None:
            self.csv = csv.DictWriter(self.file, row.keys(), lineterminator="\n")
            self.csv.writeheader()
        self.csv.writerow(row)
        self.file.flush()


def read(path):
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    needed = {
        "workload",
        "mode",
        "nodes",
        "repetition",
        "engine",
        "load",
        "seconds",
        "per_second",
        "least_bytes",
        "latency_p50",
        "round_trips",
        "cpu_ns",
        *SAME_EVERYWHERE,
        *SAME_RESULT,
    }
    if not rows or not needed <= rows[0].keys():
        raise Refused(
            f"{path} is no raw.csv of this script: it lacks {', '.join(sorted(needed - (rows or [{}])[0].keys()))}."
        )
    for index, row in enumerate(rows):
        if row["workload"] not in workloads.ALL or row["mode"] not in workloads.MODES:
            raise Refused(f"{path}: unknown workload or mode: {row['workload']}, {row['mode']}.")
        check_with(rows[:index], row)
    return rows


class Cell:
    """The runs of one workload, number of nodes and mode."""

    def __init__(self, rows):
        self.rows = rows
        rates = [float(row["per_second"]) for row in rows]
        self.median, self.low, self.high = statistics.median(rates), min(rates), max(rates)
        self.runs = len(rows)
        quarters = statistics.quantiles(rates, n=4, method="inclusive") if len(rates) > 1 else rates * 3
        self.quarter_low, self.quarter_high = quarters[0], quarters[2]

    def per_operation(self, *counters):
        """The median of the counters' sum for each operation."""
        return statistics.median(
            sum(float(row[counter]) for counter in counters) / float(row["operations"]) for row in self.rows
        )

    def median_of(self, field):
        """The median of a column; None if a run has nothing there."""
        values = [row.get(field, "") for row in self.rows]
        return None if "" in values else statistics.median(float(value) for value in values)

    def beside_least(self):
        """Bytes moved beside the least that the distribution needs; None if that is not known."""
        ratios = [
            (float(row["bytes_read"]) + float(row["bytes_written"])) / float(row["least_bytes"])
            for row in self.rows
            if float(row["least_bytes"]) > 0
        ]
        return statistics.median(ratios) if ratios else None

    def worker_ns(self):
        """What an operation takes of a worker's time."""
        workers = int(self.rows[0]["nodes"]) * int(self.rows[0]["threads"])
        return statistics.median(float(row["seconds"]) * 1e9 * workers / float(row["operations"]) for row in self.rows)

    def spread(self):
        """Half the distance between the quartiles, beside the median."""
        return (self.quarter_high - self.quarter_low) / 2 / self.median if self.median else 0


class Summary:
    def __init__(self, rows):
        self.about = rows[0]
        loads = [float(row["load"]) for row in rows]
        self.load_low, self.load_high = min(loads), max(loads)
        self.engines = sorted({row["engine"] for row in rows} - {"none"})
        groups = {}
        for row in rows:
            groups.setdefault((row["workload"], int(row["nodes"]), row["mode"]), []).append(row)
        self.cells = {key: Cell(group) for key, group in groups.items()}
        self.workloads = [name for name in workloads.ALL if any(key[0] == name for key in self.cells)]
        self.perf = [name for name in runs.PERF if all(row[f"perf_{name}"] != "" for row in rows)]
        self.modes = [mode for mode in workloads.MODES if any(key[2] == mode for key in self.cells)]
        self.repeat = max(cell.runs for cell in self.cells.values())

    def nodes(self, workload):
        return sorted({key[1] for key in self.cells if key[0] == workload})

    def modes_of(self, workload):
        return [mode for mode in self.modes if any(key[0] == workload and key[2] == mode for key in self.cells)]

    def cell(self, workload, nodes, mode):
        return self.cells.get((workload, nodes, mode))

    def unit(self, workload):
        return next(cell.rows[0]["unit"] for key, cell in self.cells.items() if key[0] == workload)

    def gain(self, workload, nodes, mode):
        """How many times page mode's throughput; None if one of them was not run."""
        page, other = self.cell(workload, nodes, "page"), self.cell(workload, nodes, mode)
        return other.median / page.median if page and other and page.median else None
