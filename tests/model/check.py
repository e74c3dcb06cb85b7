#!/usr/bin/env python3
"""Has SPIN check the latch protocol's model (latch.pml), and keeps the model and the code in step.

  check.py verify [--long] [--proof FILE]          safety and liveness of small clusters, each to the end of its space
  check.py replay --modelreplay PROGRAM [--long]   simulations of the model, followed step by step by the shipped code
"""

import argparse
import json
import pathlib
import re
import subprocess
import sys
import tempfile

MODEL = pathlib.Path(__file__).resolve().parent / "latch.pml"
MEGABYTES_MAX = 3500
SAFETY = "one writer or many readers or object work; words back accesses; reads are current; nobody sleeps for ever"
SERVED = "weak fairness, accesses without end: who waits is served"

# What is asked, the model's parameters.
FAST = [
    ("safety: 2 nodes, 2 accesses of the home and 1 of the other", "safety", {"REQS": 1, "REQS0": 2}),
    ("safety: 2 nodes, 1 access each, releases at any time", "safety", {"REQS": 1, "HINTS": 1}),
    ("safety: 3 nodes, 1 access each but of the home", "safety", {"N": 3, "REQS": 1, "REQS0": 0}),
    ("safety: 2 nodes, 1 access each, plain ones inside borrows of both", "safety", {"REQS": 1, "TOUCH": 3}),
    ("served: writer against writer", "live", {"KINDS": 4}),
    ("served: both write and ask ahead", "live", {"KINDS": 4, "AHEAD": 1}),
    ("served: home writes, other works on objects", "live", {"KINDS0": 4, "KINDS": 8}),
    ("served: home works on objects, other writes", "live", {"KINDS0": 8, "KINDS": 4}),
    ("served: home works on objects and touches them, other writes", "live", {"KINDS0": 8, "KINDS": 4, "TOUCH": 1}),
    ("served: home writes, other works on objects and touches them", "live", {"KINDS0": 4, "KINDS": 8, "TOUCH": 2}),
]
LONG = [
    ("safety: 2 nodes, 1 access each, which each may ask for ahead", "safety", {"REQS": 1, "AHEAD": 1}),
    ("safety: 2 nodes, 1 access of the home and 2 of the other", "safety", {"REQS": 2, "REQS0": 1}),
    ("served: home reads, other writes, both ask ahead", "live", {"KINDS0": 2, "KINDS": 4, "AHEAD": 1}),
    ("served: home reads, other writes", "live", {"KINDS0": 2, "KINDS": 4}),
    ("served: home writes, other reads", "live", {"KINDS0": 4, "KINDS": 2}),
    ("served: home works on objects, other reads", "live", {"KINDS0": 8, "KINDS": 2}),
    ("served: home reads, other works on objects", "live", {"KINDS0": 2, "KINDS": 8}),
    ("safety: both read and write without end", "safety", {"KINDS": 6, "REQS": 0, "COARSE": 1, "ROOMS": 1}),
]


def defines(parameters):
    return [f"-D{name}={value}" for name, value in parameters.items()]


def run(command, folder, **options):
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, **options)


def pan_text(kind, parameters, folder):
    """What the verifier for these parameters prints."""
    made = run(["spin", "-a", *defines(parameters), str(MODEL)], folder)
    if made.returncode != 0:
        sys.exit(f"check.py: spin: {made.stdout}{made.stderr}")
    flags = ["-DSAFETY"] if kind == "safety" else ["-DNFAIR=3"]
    compiled = run(["gcc", "-O1", "-w", "-DCOLLAPSE", "-DVECTORSZ=2048", f"-DMEMLIM={MEGABYTES_MAX}", *flags, "-o", "pan", "pan.c"],
                   folder)
    if compiled.returncode != 0:
        sys.exit(f"check.py: gcc: {compiled.stderr}")
    arguments = [] if kind == "safety" else ["-a", "-f"]
    return run(["./pan", *arguments, "-m3000000", "-w22"], folder).stdout


def verify_one(name, kind, parameters):
    """A row for scripts/proof-report. Liveness is asked for each node, the slower answer is told."""
    states, good, notes = 0, True, []
    for live in [0, 1] if kind == "live" else [None]:
        given = dict(parameters)
        if live is not None:
            given.update({"REQS": 0, "COARSE": 1, "ROOMS": 1, "LIVE": live})
        with tempfile.TemporaryDirectory(prefix="model-check-") as folder:
            text = pan_text(kind, given, folder)
            errors = re.search(r"errors: (\d+)", text)
            stored = re.search(r"([\d.e+]+) states, stored", text)
            complete = errors and stored and "max search depth too small" not in text and "out of memory" not in text \
                and "pan: reached" not in text
            if not complete or errors[1] != "0":
                good = False
                notes.append(text[-1500:] if not complete else trail(folder, given))
            states += int(float(stored[1])) if stored else 0
    note = " ".join(notes) or f"{SAFETY if kind == 'safety' else SERVED}; the whole space"
    return {"part": "spin", "name": name, "value": states, "unit": "states", "ok": good, "note": note}


def trail(folder, parameters):
    """The way to an error, as events."""
    (pathlib.Path(folder) / MODEL.name).write_text(MODEL.read_text())
    text = run(["spin", "-t", "-T", *defines(parameters), MODEL.name], folder).stdout
    return "\n".join(line.strip() for line in text.splitlines() if re.match(r"\s*([A-Z]+ \d|<|spin:)", line))


def verify(options):
    rows = []
    for name, kind, parameters in FAST + (LONG if options.long else []):
        row = verify_one(name, kind, parameters)
        rows.append(row)
        print(f"{'ok    ' if row['ok'] else 'FAILED'} {row['value']:>10} states  {name}", flush=True)
        if not row["ok"]:
            print(row["note"])
    if options.proof:
        options.proof.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return 0 if all(row["ok"] for row in rows) else 1


def replay(options):
    steps = 0
    for seed in range(1, (200 if options.long else 20) + 1):
        parameters = {"N": 2 + seed % 2, "REQS": 0, "HINTS": seed // 2 % 2, "TOUCH": seed // 4 % 4, "AHEAD": seed // 3 % 2}
        model = run(["spin", "-T", f"-n{seed}", "-u60000", *defines(parameters), str(MODEL)], None)
        code = subprocess.run([options.modelreplay], input=model.stdout, capture_output=True, text=True)
        if code.returncode != 0:
            print(f"seed {seed} of {parameters}:\n{code.stdout}")
            return 1
        steps += int(re.search(r"(\d+) steps", code.stdout)[1])
    print(f"{seed} simulations of the model, {steps} steps: the code did the same in each")
    if options.proof:
        row = {"part": "spin", "name": "model and code in step", "value": steps, "unit": "events", "ok": True,
               "note": f"{seed} simulations of the model replayed through proto::step; words, states and messages compared"}
        with options.proof.open("a") as file:
            file.write(json.dumps(row) + "\n")
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["verify", "replay"])
    parser.add_argument("--long", action="store_true", help="the larger spaces too; more simulations")
    parser.add_argument("--proof", type=pathlib.Path, help="write the figures to this file (replay: add them)")
    parser.add_argument("--modelreplay", default="modelreplay", help="the program that follows")
    options = parser.parse_args()
    return verify(options) if options.what == "verify" else replay(options)


if __name__ == "__main__":
    sys.exit(main())
