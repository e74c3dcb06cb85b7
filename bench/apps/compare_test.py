#!/usr/bin/env python3
"""scripts/compare as its users run it: what it writes, and what it refuses.

  compare_test.py SCRIPT BIN CASE
"""

import csv
import json
import os
import pathlib
import re
import signal
import stat
import subprocess
import sys
import tempfile
import xml.etree.ElementTree

SCRIPT, BIN = (pathlib.Path(word).resolve() for word in sys.argv[1:3])
SMALL = ("--workload", "falseshare,reread", "--nodes", "1,2", "--size", "tiny", "--repeat", "2")

# Stands where app_falseshare should be and changes what native mode reports.
LIAR = """#!/usr/bin/env python3
import json, os, subprocess, sys
program = [{real!r}, *sys.argv[1:]]
if "native" not in program:
    os.execv(program[0], program)
subprocess.run(program, check=True)
path = sys.argv[sys.argv.index("--json") + 1]
told = json.load(open(path))
told[{field!r}] = {value!r}
json.dump(told, open(path, "w"))
"""


def compare(*words, folder=BIN):
    done = subprocess.run(
        [SCRIPT, "--bin", folder, *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "DSM_LOG": "0"},
    )
    return done.returncode, done.stdout, done.stderr


def expect(right, what):
    if not right:
        sys.exit(f"compare_test: {what}")


def expect_refusal(told, code, word):
    expect(told[0] == code, f"exit code {told[0]} instead of {code}: {told[1]}{told[2]}")
    expect(word in told[2], f"{word!r} is not in what it says: {told[2]}")
    expect("Traceback" not in told[2], told[2])


def rows_of(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def reports(folder):
    """A tiny set gives a row a run, tables with every mode, and HTML whose drawings are well-formed."""
    code, out, err = compare(*SMALL, "--out", folder)
    expect(code == 0, f"exit code {code}: {out}{err}")
    rows = rows_of(folder / "raw.csv")
    expect(len(rows) == 2 * 4 * 2 * 2, f"{len(rows)} rows")
    for row in rows:
        expect(all(row[name] for name in ("commit", "host", "kernel", "parameters", "checksum")), f"incomplete: {row}")
        expect(float(row["seconds"]) > 0 and int(row["operations"]) >= 300, f"no measurement: {row}")
        expect((row["engine"] == "none") == (row["mode"] == "native"), f"engine: {row}")
    remote = [row for row in rows if row["nodes"] == "2"]
    expect(all(int(row["message_sent"]) == 0 for row in rows if row["mode"] == "native"), "native mode sends messages")
    expect(all(int(row["op_read"]) > 0 for row in remote if row["mode"] != "native"), "two nodes moved nothing")
    expect(any(int(row["object_miss"]) > 0 for row in remote if row["mode"] == "owned"), "owned mode borrowed nothing")
    for name in ("native", "page", "hinted", "owned", "falseshare", "reread", "hinted:page"):
        expect(name in out and name in (folder / "report.md").read_text(), f"{name} is in no table")
    html = (folder / "report.html").read_text()
    drawings = re.findall(r"<svg.*?</svg>", html, re.DOTALL)
    expect(len(drawings) == 2 * 2 + 1 + 2, f"{len(drawings)} drawings")  # reread has latencies, too
    for drawing in drawings:
        xml.etree.ElementTree.fromstring(drawing)
    expect("src=" not in html and "href=" not in html, "the report needs other files")
    again = compare("--render", folder / "raw.csv", "--out", folder / "again")
    expect(again[0] == 0, again[2])
    expect((folder / "again/report.html").read_text() == html, "the same rows gave another report")


def spoilt(folder, rows, field, value):
    rows[-1][field] = value
    path = folder / f"{field}.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return path


def refusals(folder):
    """Results or configurations that differ are not compared: planted in a program, and in an earlier raw.csv."""
    fake = folder / "bin"
    fake.mkdir()
    (fake / "dsmrun").symlink_to(BIN / "dsmrun")
    few = ("--workload", "falseshare", "--nodes", "1", "--size", "tiny", "--repeat", "1", "--out", folder / "out")
    for field, value, word in (("checksum", "0" * 16, "the results differ"), ("work", 7, "different work")):
        program = fake / "app_falseshare"
        program.write_text(LIAR.format(real=str(BIN / "app_falseshare"), field=field, value=value))
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        expect_refusal(compare(*few, folder=fake), 3, word)
    expect(not (folder / "out/report.html").exists(), "a refused comparison has a report")

    code, _, err = compare(*few)
    expect(code == 0, err)
    raw = folder / "out/raw.csv"
    for field, value in (
        ("checksum", "1"),
        ("kernel", "1.0"),
        ("commit", "x"),
        ("seed", "2"),
        ("emulate", "tcp"),
        ("engine", "other"),
        ("parameters", json.dumps({"writes": 1})),
    ):
        path = spoilt(folder, rows_of(raw), field, value)
        expect_refusal(
            compare("--render", path, "--out", folder / "out"), 3, {"engine": "fault engines"}.get(field, field)
        )


def resume(folder):
    """An interrupted comparison goes on when it is started again, and a finished one begins anew."""
    words = ("--workload", "falseshare", "--nodes", "1,2", "--size", "tiny", "--repeat", "1", "--out", folder / "out")
    command = [str(word) for word in (SCRIPT, "--bin", BIN, *words)]
    first = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in first.stdout:
        if line.startswith("[3/8]"):
            first.send_signal(signal.SIGINT)
            break
    _, err = first.communicate()
    expect(first.returncode == 130 and "goes on" in err, f"exit code {first.returncode}: {err}")
    done = len(rows_of(folder / "out/raw.csv"))
    expect(3 <= done < 8, f"{done} rows after the interruption")
    code, out, err = compare(*words)
    expect(code == 0 and f"interrupted after {done} runs" in out, f"exit code {code}: {out}{err}")
    rows = rows_of(folder / "out/raw.csv")
    expect(len({(row["mode"], row["nodes"]) for row in rows}) == len(rows) == 8, f"{len(rows)} rows in the end")
    code, out, err = compare(*words)
    expect(code == 0 and "interrupted" not in out, f"a finished comparison goes on: {out}{err}")


def model(folder):
    """The cost model reads what compare has written, and says how far off it is."""
    code, _, err = compare(*SMALL, "--emulate", "rdma", "--out", folder)
    expect(code == 0, err)
    program = SCRIPT.parent.parent / "bench/model/model.py"
    done = subprocess.run([program, folder / "raw.csv"], capture_output=True, text=True, check=False)
    expect(done.returncode == 0, done.stderr)
    expect("median error" in done.stdout and done.stdout.count("reread") == 3 * 2, done.stdout)
    wrong = subprocess.run([program, folder / "report.md"], capture_output=True, text=True, check=False)
    expect(wrong.returncode == 1 and "Traceback" not in wrong.stderr, wrong.stderr)


def goals(folder):
    """A goal that was met is missed when what it is about has become slower, in all three reports."""
    rows = rows_of(SCRIPT.parent.parent / "bench/results/compare_rdma.csv")
    goal = "kv, 4 nodes: owned : page"
    for factor, verdict in ((1, "met"), (0.01, "missed")):
        for row in rows:
            if (row["workload"], row["nodes"], row["mode"]) == ("kv", "4", "owned"):
                row["per_second"] = float(row["per_second"]) * factor
        path = spoilt(folder, rows, "load", rows[-1]["load"])
        code, out, err = compare("--render", path, "--out", folder)
        expect(code == 0, err)
        for told in (out, (folder / "report.md").read_text(), (folder / "report.html").read_text()):
            found = re.search(re.escape(goal) + r"\W+(?:td\W+)*at least 10[^m]*(met|missed)", told)
            expect(found and found[1] == verdict, f"{goal} is not {verdict}")


def mistakes(folder):
    """Wrong options and programs that fail: one clear sentence and the right exit code."""
    expect(compare("--help")[0] == 0, "--help fails")
    expect_refusal(compare("--workload", "kv,nosuch"), 2, "nosuch")
    expect_refusal(compare("--modes", "fast"), 2, "fast")
    expect_refusal(compare("--nodes", "0"), 2, "no number from 1 to 48")
    expect_refusal(compare("--repeat", "-1"), 2, "no number")
    expect_refusal(compare("--size", "huge"), 2, "huge")
    expect_refusal(compare("--transport", "pigeon"), 2, "pigeon")
    expect_refusal(compare("--out", "/dev/null/x"), 2, "/dev/null")
    expect_refusal(compare("--render", folder / "none.csv", "--out", folder), 2, "none.csv")
    (folder / "bad.csv").write_text("a,b\n1,2\n")
    expect_refusal(compare("--render", folder / "bad.csv", "--out", folder), 3, "no raw.csv")
    expect_refusal(compare("--out", folder, folder=folder), 4, "app_kv")
    fake = folder / "bin"
    fake.mkdir()
    (fake / "dsmrun").symlink_to(BIN / "dsmrun")
    (fake / "app_falseshare").write_text("#!/bin/sh\nexec sleep 1000\n")
    (fake / "app_falseshare").chmod(0o755)
    one = ("--workload", "falseshare", "--nodes", "1", "--modes", "native", "--timeout", "1", "--out", folder)
    expect_refusal(compare(*one, folder=fake), 1, "no end after 1 s")
    few = ("--workload", "falseshare", "--nodes", "2", "--size", "tiny", "--repeat", "1", "--out", folder)
    expect_refusal(compare(*few, "--modes", "page", "--emulate", "x"), 1, "emulate")


with tempfile.TemporaryDirectory() as temporary:
    cases = (reports, refusals, resume, model, goals, mistakes)
    {case.__name__: case for case in cases}[sys.argv[3]](pathlib.Path(temporary))
