"""Starts one program in one mode and makes a row of what it and dsmrun report."""

import dataclasses
import json
import os
import pathlib
import platform
import signal
import subprocess
import tempfile

from comparison import workloads


# The processor's counters, then the kernel's; empty where the machine has them not.
PERF_PROCESSOR = ("cycles", "instructions", "dtlb_load_misses", "llc_misses")
PERF_KERNEL = ("task_clock_ns", "page_faults", "context_switches", "cpu_migrations")
PERF = PERF_PROCESSOR + PERF_KERNEL


ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
GRAPH = ROOT / "build/package-graph.txt"


class Failed(Exception):
    def __init__(self, sentence, exit_code=1):
        super().__init__(sentence)
        self.exit_code = exit_code


@dataclasses.dataclass(frozen=True)
class Run:
    workload: str
    mode: str
    nodes: int
    repetition: int

    def text(self, repeat):
        return (
            f"{self.workload}, {workloads.count_of_nodes(self.nodes)}, {self.mode}, run {self.repetition + 1} of {repeat}"
        )


def jemalloc():
    """What every program's own memory comes from, in all modes: the library's heap is jemalloc, too."""
    for folder in ("/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib", "/usr/local/lib"):
        path = pathlib.Path(folder) / "libjemalloc.so.2"
        if path.exists():
            return str(path)
    raise Failed("libjemalloc.so.2 is not there. Install Debian's libjemalloc2 (scripts/setup does).", exit_code=4)


def programs_of(chosen):
    return ["dsmrun"] + sorted({workloads.ALL[name].program for name in chosen})


def check_programs(folder, chosen):
    jemalloc()
    wanted = programs_of(chosen)
    missing = [name for name in wanted if not os.access(folder / name, os.X_OK)]
    if missing:
        raise Failed(
            f"{', '.join(missing)} not found in {folder}. Build them first: "
            f"cmake --preset release && cmake --build --preset release --target {' '.join(missing)}",
            exit_code=4,
        )


def make_graph(chosen):
    """PageRank's graph is made of this machine's package lists."""
    if "pagerank" not in chosen or GRAPH.exists():
        return
    GRAPH.parent.mkdir(parents=True, exist_ok=True)
    made = subprocess.run([ROOT / "scripts/package-graph", "--out", GRAPH], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        raise Failed(f"no graph for pagerank: {(made.stderr or made.stdout).strip()} (or leave it out with --workload)")


def git(root, *words):
    done = subprocess.run(["git", "-C", root, *words], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def processor():
    for line in pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def machine(root):
    try:
        commit = git(root, "rev-parse", "--short", "HEAD") or "unknown"
        changed = (
            "+changes"
            if git(root, "status", "--porcelain", "--untracked-files=no", "--", ":!*.md", ":!bench/results")
            else ""
        )
    except FileNotFoundError:  # no git here
        commit, changed = "unknown", ""
    return {
        "commit": commit + changed,
        "host": platform.node(),
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": platform.release(),
    }


def command_of(run, options, result, stats):
    load = workloads.ALL[run.workload]
    count = load.counts[workloads.SIZES.index(options.size)]
    given = [GRAPH if word == "build/package-graph.txt" else word for word in load.options]
    program = [options.bin / load.program, *given, "-n", count, *load.mode_options(run.mode)]
    program += ["--threads", options.threads, "--seed", options.seed, "--json", result]
    if run.mode == "native":
        return [str(word) for word in program + ["--as-nodes", run.nodes]]
    launcher = [options.bin / "dsmrun", "-n", run.nodes, "--no-prefix", "--stats-json", stats]
    launcher += ["--transport", options.transport]
    if options.emulate != "none":
        launcher += ["--emulate", options.emulate]
    return [str(word) for word in launcher + ["--"] + program]


def end(child):
    """dsmrun ends its nodes when it is told to; if it does not, all of its group goes."""
    child.terminate()
    try:
        child.wait(timeout=5)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def call(command, run, options):
    """Runs it in a process group of its own, so that nothing of it is left behind."""
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env={**os.environ, "LD_PRELOAD": jemalloc()},
    )
    where = f"{run.text(options.repeat)}\n  {' '.join(command)}\n"
    try:
        output, _ = child.communicate(timeout=options.timeout)
    except subprocess.TimeoutExpired:
        raise Failed(f"no end after {options.timeout} s (--timeout): {where}") from None
    finally:
        if child.poll() is None:
            end(child)
    if child.returncode != 0:
        last = "\n".join(f"  | {line}" for line in output.splitlines()[-20:])
        raise Failed(f"exit code {child.returncode}: {where}{last}")


def execute(run, options, about):
    load_before = round(os.getloadavg()[0], 2)  # over a minute, what others do on this machine included
    with tempfile.TemporaryDirectory(prefix="comparison-") as folder:
        result, stats = pathlib.Path(folder) / "result.json", pathlib.Path(folder) / "stats.json"
        command = command_of(run, options, result, stats)
        call(command, run, options)
        try:
            told = json.loads(result.read_text(encoding="utf-8"))
            nodes = [] if run.mode == "native" else json.loads(stats.read_text(encoding="utf-8"))["nodes"]
            engines = {node["engine"] for node in nodes}
            return {
                "workload": run.workload,
                "mode": run.mode,
                "nodes": run.nodes,
                "threads": options.threads,
                "repetition": run.repetition + 1,
                **about,
                "load": load_before,
                "engine": "+".join(sorted(engines)) or "none",
                "transport": options.transport,
                "emulate": options.emulate,
                "seed": options.seed,
                "size": options.size,
                "parameters": json.dumps(told["parameters"], sort_keys=True),
                "seconds": told["seconds"],
                "operations": told["work"],
                "unit": told["unit"],
                "per_second": told["per_second"],
                "checksum": told["checksum"],
                "least_bytes": told["least_bytes"],
                **{f"latency_{name}": value for name, value in told["latency_ns"].items()},
                **{f"perf_{name}": told.get("perf", {}).get(name, "") for name in PERF},
                **told["counters"],
            }
        except (OSError, ValueError, KeyError) as problem:
            raise Failed(f"{run.text(options.repeat)}: cannot use what the program reported: {problem!r}") from None
