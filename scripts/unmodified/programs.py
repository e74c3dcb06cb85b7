"""The programs that scripts/legacy runs as they are, and one run of one of them on one memory system."""

import contextlib
import hashlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import threading
import time

from unmodified.turns import CPUS, ELSEWHERE, THE_CPU

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
DSMRUN = ROOT / "build/bin/dsmrun"
LIBRARY = ROOT / "build/lib/libdsm_preload.so"
JEMALLOC = "/usr/lib/x86_64-linux-gnu/libjemalloc.so.2"
SHARES = {"50%": 0.5, "25%": 0.25}
LEAST_LOCAL_MIB = 8
MMAP_KIB = "64"  # what a program maps itself from this size on is bounded, too
DEADLINE_S = 900  # of one run
ARENAS = f"narenas:{4 * len(CPUS)}"


class Failed(Exception):
    """A program did not do what it is to do; the text says what."""


@contextlib.contextmanager
def ended_in_time(process):
    alarm = threading.Timer(DEADLINE_S, process.terminate)
    alarm.start()
    try:
        yield
    finally:
        late = not alarm.is_alive()
        alarm.cancel()
        if late:
            raise Failed(f"had not ended after {DEADLINE_S} s")


class Run:
    """One program on one system: how to start it, what it used."""

    def __init__(self, system, need_mib, folder, engine, turn=None):
        self.system, self.need_mib, self.folder, self.engine = system, need_mib, pathlib.Path(folder), engine
        self.turn = turn  # None: it runs all the time
        self.stats_file = self.folder / "stats.json"
        self.peak_mib = 0.0
        self.cpu_s = 0.0
        self.notes = []
        self.processes = turn.processes if turn else []

    def command(self, words):
        if self.system not in SHARES:
            return words
        local = max(LEAST_LOCAL_MIB, 2 * round(self.need_mib * SHARES[self.system] / 2))  # whole chunks
        return [str(DSMRUN), "--preload", "--engine", self.engine, "--memory-nodes", "2", "--local-memory", f"{local}M",
                "--mmap-kib", MMAP_KIB, "--stats-json", str(self.stats_file), "--", *words]

    def environment(self, more):
        made = {key: value for key, value in os.environ.items() if not key.startswith("DSM_")} | more
        if self.turn:
            made["PADDING"] = "x" * self.turn.padding
            made["MALLOC_CONF"] = ARENAS  # jemalloc would make one arena where there is one CPU; libdsm asks for no such thing
        preload = {"jemalloc": JEMALLOC, "libdsm": str(LIBRARY)}.get(self.system)
        if preload:
            made["LD_PRELOAD"] = preload
        return made

    def clock(self):
        return self.turn.clock() if self.turn else time.perf_counter()

    def launch(self, words, cpus, **how):
        """`cpus`: where, if it has turns."""
        with self.turn.starting(cpus) if self.turn else contextlib.nullcontext():
            process = subprocess.Popen(words, start_new_session=True, **how)
            self.processes.append(process)
        return process

    def start(self, words, more=None, **how):
        with open(self.folder / "stderr", "ab") as stderr:
            return self.launch(self.command(words), {THE_CPU}, env=self.environment(more or {}), cwd=self.folder,
                               stderr=stderr, **how)

    def tool(self, words, **how):
        """A client, on no memory system: runs to the end, in the program's turns."""
        process = self.launch(words, ELSEWHERE, **how)
        with ended_in_time(process):
            process.wait()
        if process.returncode != 0:
            raise Failed(f"{words[0]}: status {process.returncode}")

    def finish(self, process):
        """Waits for its end and notes what it had resident at the most."""
        with ended_in_time(process):
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        self.peak_mib = max(self.peak_mib, usage.ru_maxrss / 1024)
        self.cpu_s += usage.ru_utime + usage.ru_stime
        if process.returncode != 0:
            raise Failed(f"status {process.returncode}: {(self.folder / 'stderr').read_text()[-300:]}")

    def batch(self, words, more=None, stdin=None):
        """Runs to the end; seconds and the output's digest."""
        output = self.folder / "output"
        source = open(stdin, "rb") if stdin else subprocess.DEVNULL
        with open(output, "wb") as out:
            begin = self.clock()
            self.finish(self.start(words, more, stdin=source, stdout=out))
            seconds = self.clock() - begin
        return seconds, hashlib.md5(output.read_bytes()).hexdigest()

    def end_all(self):
        """Ends what still runs, by its number."""
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

    def counters(self):
        if not self.stats_file.exists():
            return {}
        with open(self.stats_file, encoding="utf-8") as file:
            total = json.load(file)["total"]["counters"]
        return {name: int(total[name]) for name in ("fault_read", "fault_write", "bytes_read", "bytes_written")}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def connect(port, process):
    """A connection to a server that is starting."""
    deadline = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < deadline:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S)
        except OSError:
            time.sleep(0.02)
    raise Failed("the server does not answer")


def lines_file(folder, lines):
    """Text that is the same every time: numbers of a linear congruence, and their index."""
    path = pathlib.Path(folder) / f"lines-{lines}"
    if not path.exists():
        state, text = 1, []
        for index in range(lines):
            state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
            text.append(f"{state:016x} {index}\n")
        path.write_text("".join(text))
    return path


# --- the programs: each takes a Run, its size (1 for --quick) and a folder of inputs, and gives (seconds, digest) ---

def run_sort(run, size, inputs):
    return run.batch(["sort", "--parallel=2", "-S", "1G", str(lines_file(inputs, 250_000 * size))], {"LC_ALL": "C"})


def run_xz(run, size, inputs):
    return run.batch(["xz", "-9", "-T2", "--block-size=4MiB", "-c", str(lines_file(inputs, 100_000 * size))])


SQL = """
CREATE TABLE t(id INTEGER PRIMARY KEY, a INTEGER, b TEXT);
WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < {rows})
  INSERT INTO t SELECT i, i * 7919 % 1000003, 'row number ' || i || ' of the table' FROM c;
CREATE INDEX ta ON t(a); CREATE INDEX tb ON t(b);
SELECT count(*), sum(a), min(b), max(b) FROM t;
DELETE FROM t WHERE id % 3 = 0;
SELECT count(*), sum(length(b)) FROM t WHERE a BETWEEN 1000 AND 900000;
PRAGMA integrity_check;
"""


def run_sqlite3(run, size, inputs):
    script = pathlib.Path(inputs) / f"sql-{size}"
    if not script.exists():  # another run may be reading it
        script.write_text(SQL.format(rows=200_000 * size))
    return run.batch(["sqlite3", ":memory:"], stdin=script)


PYTHON = """
import sys
n = int(sys.argv[1])
big = {i: {'name': f'item {i}', 'list': [i, i + 1, str(i)]} for i in range(n)}
words = {}
for i in range(n):
    words.setdefault(str(i * 7919 % 10007), []).append(i)
total = sum(len(v['name']) + v['list'][1] for v in big.values())
for i in range(0, n, 3):
    del big[i]
print(total, len(big), sum(len(v) for v in words.values()))
"""


def run_python3(run, size, _):
    return run.batch(["python3", "-c", PYTHON, str(100_000 * size)], {"PYTHONMALLOC": "malloc"})


def run_gxx(run, _, inputs):
    """The compiler proper, on one of our own files."""
    folder = pathlib.Path(inputs)
    unit = folder / "unit.ii"
    if not unit.exists():
        source = ROOT / "libdsm/tools/dsmrun_options.cpp"
        subprocess.run(["g++", "-std=c++20", "-E", "-DFMT_HEADER_ONLY=1", "-I", ROOT / "libdsm", "-I",
                        ROOT / "libdsm/include", source, "-o", unit], check=True)
    compiler = subprocess.run(["g++", "-print-prog-name=cc1plus"], check=True, capture_output=True, text=True)
    return run.batch([compiler.stdout.strip(), "-fpreprocessed", str(unit), "-quiet", "-O1", "-std=c++20", "-o", "-"])


def run_perl(run, size, inputs):
    script = ("while (<>) { my ($k, $v) = split; push @{$h{substr $k, 0, 5}}, $v; $n{$k} = $_; } "
              "my $s = 0; $s += @{$h{$_}} * length $_ for keys %h; print $s, ' ', scalar(keys %n), qq(\\n);")
    return run.batch(["perl", "-e", script, str(lines_file(inputs, 150_000 * size))])


def redis(port, *words):
    done = subprocess.run(["redis-cli", "-p", str(port), *words], capture_output=True, text=True, timeout=DEADLINE_S)
    return done.stdout.strip()


def start_redis(run, port):
    server = run.start(["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(run.folder),
                        "--enable-debug-command", "yes", "--logfile", str(run.folder / "redis.log")],
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    connect(port, server).close()
    while "LOADING" in redis(port, "PING"):  # a dump
        time.sleep(0.02)
    return server


def save_in_background(run, port):
    """True once a forked child has written the dump."""
    redis(port, "BGSAVE")
    deadline = time.monotonic() + 60
    while "rdb_bgsave_in_progress:1" in redis(port, "INFO", "persistence") and time.monotonic() < deadline:
        time.sleep(0.02)
    good = "rdb_last_bgsave_status:ok" in redis(port, "INFO", "persistence") and (run.folder / "dump.rdb").exists()
    if not good:
        run.notes.append("BGSAVE failed")
    return good


def run_redis(run, size, inputs):
    keys, port = 60_000 * size, free_port()
    load = pathlib.Path(inputs) / f"redis-{keys}"
    if not load.exists():
        load.write_text("".join(f"SET key:{i} {'v' * (i % 300)}{i}\r\nRPUSH list:{i % 1000} {i}\r\n" for i in range(keys)))
    server = start_redis(run, port)
    begin = run.clock()
    with open(load, "rb") as commands:
        run.tool(["redis-cli", "-p", str(port), "--pipe"], stdin=commands, stdout=subprocess.DEVNULL)
    run.tool(["redis-benchmark", "-p", str(port), "-t", "get,lpush,lpop", "-n", str(20_000 * size), "-P", "16", "-q"],
             stdout=subprocess.DEVNULL)
    seconds = run.clock() - begin
    redis(port, "DEL", "mylist")
    digest = redis(port, "DEBUG", "DIGEST")
    saved = save_in_background(run, port)
    redis(port, "SHUTDOWN", "NOSAVE")
    run.finish(server)
    if saved:
        server = start_redis(run, port)
        again = redis(port, "DEBUG", "DIGEST")
        redis(port, "SHUTDOWN", "NOSAVE")
        run.finish(server)
        if again != digest:
            raise Failed("the restarted server has other data")
    return seconds, digest


def run_memcached(run, size, _):
    items, port = 20_000 * size, free_port()
    server = run.start(["memcached", "-l", "127.0.0.1", "-p", str(port), "-m", "1024", "-u", "root", "-t", "2"],
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    with connect(port, server) as line, line.makefile("rb") as answers:
        begin = run.clock()
        value = b"x" * 1000
        for first in range(0, items, 500):
            line.sendall(b"".join(b"set key%d 0 0 %d\r\n%s%d\r\n" % (i, 1000 + len(b"%d" % i), value, i)
                                  for i in range(first, first + 500)))
            for _ in range(500):
                if answers.readline() != b"STORED\r\n":
                    raise Failed("a value was not stored")
        seen = hashlib.md5()
        for first in range(0, items, 50):
            line.sendall(b"get " + b" ".join(b"key%d" % i for i in range(first, first + 50)) + b"\r\n")
            while (answer := answers.readline()) != b"END\r\n":
                seen.update(answer)
        seconds = run.clock() - begin
    server.send_signal(signal.SIGTERM)
    run.finish(server)
    return seconds, seen.hexdigest()


PROGRAMS = {"redis-server": run_redis, "memcached": run_memcached, "sqlite3": run_sqlite3, "python3": run_python3,
            "sort": run_sort, "xz": run_xz, "g++": run_gxx, "perl": run_perl}
