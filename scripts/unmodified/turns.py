"""Two programs on one CPU, by turns of some milliseconds: what that CPU does to one (its clock, its cache, other guests
of the host) it does to the other, so that a per cent between them shows after a few runs. One behind the other, or each
on a CPU of its own, they differ by several for no reason."""

import os
import pathlib
import signal
import threading
import time

TURN_S = 0.01


def runs(process):
    """Whether it is neither stopped nor over."""
    if process.returncode is not None:
        return False
    try:
        stat = pathlib.Path(f"/proc/{process.pid}/stat").read_text(encoding="ascii", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(") ")[2][0] not in "TtZX"


class Turn:
    """A program's share of the CPU: its processes run while it is its turn, and its clock goes only then."""

    def __init__(self):
        self.changed = threading.Condition()
        self.processes = []
        self.before, self.since = 0.0, None

    def __enter__(self):
        """Waits until it is its turn, which does not end before __exit__."""
        self.changed.acquire()
        while self.since is None:
            self.changed.wait()

    def __exit__(self, *_):
        self.changed.release()

    def add(self, process):
        """A process that leads a group of its own, started in its turn."""
        self.processes.append(process)

    def clock(self):
        with self.changed:
            return self.before + (time.perf_counter() - self.since if self.since is not None else 0)

    def begin(self):
        with self.changed:
            self.signal(signal.SIGCONT)
            self.since = time.perf_counter()
            self.changed.notify_all()

    def end(self):
        """A process that is about to end does so first: nothing stops it, and it would use the other's turn."""
        with self.changed:
            self.signal(signal.SIGSTOP)
            while any(runs(process) for process in self.processes):
                time.sleep(0.0002)
            self.before += time.perf_counter() - self.since
            self.since = None

    def signal(self, number):
        for process in self.processes:
            if process.returncode is None:
                try:
                    os.killpg(process.pid, number)
                except ProcessLookupError:
                    pass  # has just ended


def by_turns(jobs):
    """Runs the jobs, pairs of a Turn and a function without arguments, in threads of one CPU until all have returned. If
    this thread is to end before that, what they have started is killed, which makes them return."""
    everywhere = os.sched_getaffinity(0)

    def work(job):
        os.sched_setaffinity(0, {max(everywhere)})  # of this thread, and of what it starts
        job()

    threads = [threading.Thread(target=work, args=(job,)) for _, job in jobs]
    for thread in threads:
        thread.start()
    try:
        while any(thread.is_alive() for thread in threads):
            for (turn, _), thread in zip(jobs, threads):
                if thread.is_alive():
                    turn.begin()
                    thread.join(TURN_S)
                    turn.end()
    except BaseException:
        for turn, _ in jobs:
            turn.signal(signal.SIGKILL)
        raise
    finally:
        for turn, _ in jobs:
            turn.begin()
        for thread in threads:
            thread.join()
