"""Two programs on one CPU, by turns of some milliseconds: what that CPU does to one (its clock, its cache, other guests
of the host) it does to the other, so that a per cent between them shows after a few runs. One behind the other, or each
on a CPU of its own, they differ by several for no reason."""

import contextlib
import os
import pathlib
import signal
import threading
import time

TURN_S = 0.01
STOPS_WITHIN_S = 10
CPUS = os.sched_getaffinity(0)
THE_CPU = max(CPUS)  # of the two ...
ELSEWHERE = CPUS - {THE_CPU} or CPUS  # ... and of their clients, and of what measures


class Turn:
    """A program's share of the CPU: its processes run while it is its turn, and its clock goes only then."""

    def __init__(self, padding):
        self.padding = padding  # bytes that its environment is longer by
        self.changed = threading.Condition()
        self.processes = []
        self.before, self.since = 0.0, None
        self.over = False

    @contextlib.contextmanager
    def starting(self, cpus):
        """Waits until it is its turn, which does not end meanwhile. What is started runs on these CPUs."""
        with self.changed:
            self.changed.wait_for(lambda: self.over or self.since is not None)
            if self.over:
                raise OSError("ended before its turn came")
            os.sched_setaffinity(0, cpus)  # of this thread, and of what it starts
            try:
                yield
            finally:
                os.sched_setaffinity(0, ELSEWHERE)

    def clock(self):
        with self.changed:
            return self.before + (time.perf_counter() - self.since if self.since is not None else 0)

    def begin(self):
        with self.changed:
            self.send(signal.SIGCONT)
            self.since = time.perf_counter()
            self.changed.notify_all()

    def end(self):
        """A process that is about to end does so first: nothing stops it, and it would use the other's turn."""
        with self.changed:
            self.send(signal.SIGSTOP)
            deadline = time.monotonic() + STOPS_WITHIN_S
            while any(runs(process) for process in self.processes):
                if time.monotonic() > deadline:
                    raise TimeoutError("a program does not stop at the end of its turn")
                time.sleep(0.0002)
            self.before += time.perf_counter() - self.since
            self.since = None

    def kill(self):
        with self.changed:
            self.over = True
            self.send(signal.SIGKILL)
            self.changed.notify_all()

    def send(self, number):
        for process in self.processes:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):  # has just ended
                    os.killpg(process.pid, number)


def runs(process):
    """Whether any thread of it is neither stopped nor over."""
    if process.returncode is not None:
        return False
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for task in pathlib.Path(f"/proc/{process.pid}/task").iterdir():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                stat = (task / "stat").read_text(encoding="ascii", errors="replace")
                if stat.rpartition(") ")[2][0] not in "TtZX":
                    return True
    return False


def by_turns(jobs):
    """Runs the jobs, pairs of a Turn and a function without arguments, until all have returned. If one raises, or this
    thread is to end, what they have started is killed, which makes them return."""
    errors = []

    def work(job):
        try:
            os.sched_setaffinity(0, ELSEWHERE)  # of this thread
            job()
        except BaseException as error:  # raised below
            errors.append(error)

    threads = [threading.Thread(target=work, args=(job,)) for _, job in jobs]
    try:
        for thread in threads:
            thread.start()
        os.sched_setaffinity(0, ELSEWHERE)
        while any(thread.is_alive() for thread in threads) and not errors:
            for (turn, _), thread in zip(jobs, threads):
                if thread.is_alive():
                    turn.begin()
                    thread.join(TURN_S)
                    turn.end()
    except BaseException as error:
        errors.insert(0, error)
    finally:
        os.sched_setaffinity(0, CPUS)
        if errors:
            for turn, _ in jobs:
                turn.kill()
        for thread in threads:
            if thread.ident is not None:
                thread.join()
    if errors:
        raise errors[0]
