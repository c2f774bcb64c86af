"""Runs one command and measures it and all that it starts: cgroup, rusage, trace."""

import ctypes
import os
import select
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from .tracing import Trace, Tracer

CGROUP_ROOT = Path("/sys/fs/cgroup")
CGROUP = CGROUP_ROOT / "bench"
LOG = Path("/run/bench.log")
LOG_LINES = 30
END_SECONDS = 30
PR_SET_CHILD_SUBREAPER = 36
MIB = 1024 * 1024
# The command's peak of memory would begin with ours if it were our child: a process hands its peak on
# when it starts another program. So a shell starts it, ends, and leaves it to us.
LAUNCHER = 'exec 3<&0; (read -r _ <&3; exec 3<&-; exec "$@" </dev/null >"$BENCH_LOG" 2>&1) & echo $!'


class RunFailed(Exception):
    """The measured command ended with an error, or did not do its work."""


@dataclass(frozen=True)
class Run:
    """One command, measured; times are CLOCK_MONOTONIC's."""

    begin: float
    end: float
    cpu_seconds: float
    # Of the whole machine, the kernel's own threads with it.
    machine_cpu_seconds: float
    # Of the largest process.
    peak_process_mib: float
    # Of all processes together, with their pipes and the files that they were first to read.
    peak_tree_mib: float
    trace: Trace


class Meter:
    """Measures commands, one after the other."""

    def __init__(self) -> None:
        (CGROUP_ROOT / "cgroup.subtree_control").write_text("+cpu +memory")
        _adopt_orphans()
        self._tracer = Tracer()

    def run(self, command: list[str], environment: dict[str, str] | None = None) -> Run:
        """Run a command to its end; insist that it succeeds."""
        CGROUP.mkdir()
        try:
            return self._run_in_group(command, os.environ | (environment or {}))
        finally:
            _await_empty_group()
            CGROUP.rmdir()

    def _run_in_group(self, command: list[str], environment: dict[str, str]) -> Run:
        launcher = subprocess.Popen(
            ["sh", "-c", LAUNCHER, "sh", *command],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=environment | {"BENCH_LOG": str(LOG)},
        )  # fmt: skip
        assert launcher.stdin is not None and launcher.stdout is not None
        pid = int(launcher.stdout.readline())
        launcher.wait()
        (CGROUP / "cgroup.procs").write_text(str(pid))
        self._tracer.begin(pid)
        busy_before = _machine_cpu_seconds()
        begin = time.monotonic()
        launcher.stdin.write("go\n")
        launcher.stdin.close()
        _, status, usage = os.wait4(pid, 0)
        end = time.monotonic()
        busy_after = _machine_cpu_seconds()
        launcher.stdout.close()
        _await_empty_group()
        if status != 0:
            raise RunFailed(f"{' '.join(command)[:300]}: {_how_it_ended(status)}\n{log_tail()}")
        return Run(
            begin=begin,
            end=end,
            cpu_seconds=_cpu_seconds(),
            machine_cpu_seconds=busy_after - busy_before,
            peak_process_mib=usage.ru_maxrss / 1024,
            peak_tree_mib=int((CGROUP / "memory.peak").read_text()) / MIB,
            trace=self._tracer.end(),
        )


def log_tail() -> str:
    """The end of what the command printed."""
    return "\n".join(LOG.read_text(errors="replace").splitlines()[-LOG_LINES:])


def _how_it_ended(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return f"signal {-code}" if code < 0 else f"status {code}"


def _cpu_seconds() -> float:
    fields = dict(line.split() for line in (CGROUP / "cpu.stat").read_text().splitlines())
    return int(fields["usage_usec"]) / 1e6


def _machine_cpu_seconds() -> float:
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(
        int, Path("/proc/stat").read_text().split()[1:9]
    )
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def _adopt_orphans() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def _await_empty_group() -> None:
    """The first process of a pipeline may be the last to end."""
    with (CGROUP / "cgroup.events").open() as events:
        poll = select.poll()
        poll.register(events, select.POLLPRI)
        limit = time.monotonic() + END_SECONDS
        while "populated 1" in events.read():
            if time.monotonic() > limit:
                raise RunFailed("the command left processes behind")
            poll.poll(1000)
            _reap_orphans()
            events.seek(0)


def _reap_orphans() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass
    except ChildProcessError:
        pass
