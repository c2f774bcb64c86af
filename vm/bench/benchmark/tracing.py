"""What a process tree asks of the kernel, seen from outside through tracefs.

Kprobes tell every ioctl on /dev/zfs with the times of its entry and its return, tracepoints every
new process, and one more kprobe every transaction group that a pool writes. The process under
measurement does not know: nothing is attached to it, and its own reports are not read.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TRACEFS = Path("/sys/kernel/tracing")
PROBES = """\
p:bench/ioctl_entry zfsdev_ioctl command=$arg2:x32
r512:bench/ioctl_return zfsdev_ioctl
p:bench/txg_sync spa_sync pool=+0($arg1):string
"""
BUFFER_KIB = 8192
CLONE_THREAD = 0x10000
EVENT = re.compile(r"^.*-(\d+)\s+\[\d+\]\s+\S+\s+([\d.]+): (\w+): (.*)$")
LOST = re.compile(r"^overrun: (\d+)$", re.MULTILINE)

# The numbers are part of OpenZFS' interface and have not changed since 2.0.
COMMANDS = {
    0x5A02: "pool_import", 0x5A03: "pool_export", 0x5A04: "pool_configs", 0x5A05: "pool_stats",
    0x5A06: "pool_tryimport", 0x5A12: "objset_stats", 0x5A13: "objset_zplprops",
    0x5A14: "dataset_list_next", 0x5A15: "snapshot_list_next", 0x5A16: "set_prop", 0x5A17: "create",
    0x5A18: "destroy", 0x5A19: "rollback", 0x5A1B: "recv", 0x5A1C: "send", 0x5A23: "snapshot",
    0x5A27: "pool_get_props", 0x5A2E: "userspace_many", 0x5A30: "hold", 0x5A31: "release",
    0x5A32: "get_holds", 0x5A33: "objset_recvd_props", 0x5A39: "space_written", 0x5A3A: "space_snaps",
    0x5A3B: "destroy_snaps", 0x5A3E: "send_progress", 0x5A3F: "log_history", 0x5A40: "send_new",
    0x5A41: "send_space", 0x5A43: "bookmark", 0x5A44: "get_bookmarks", 0x5A45: "destroy_bookmarks",
    0x5A46: "recv_new", 0x5A47: "pool_sync", 0x5A48: "channel_program", 0x5A52: "get_bookmark_props",
    0x5A53: "wait",
}  # fmt: skip


class TraceError(Exception):
    """The trace is not whole."""


@dataclass(frozen=True)
class Ioctl:
    """One call to /dev/zfs; the times are CLOCK_MONOTONIC's."""

    command: str
    begin: float
    end: float


@dataclass(frozen=True)
class Trace:
    """What happened during one command."""

    ioctls: list[Ioctl]
    processes: int
    # (time, pool) of every transaction group that was written.
    syncs: list[tuple[float, str]]


class Tracer:
    """Two buffers: one for a process and all that come from it, one for the kernel's own threads."""

    def __init__(self) -> None:
        (TRACEFS / "kprobe_events").write_text(PROBES)
        self._tree = Buffer("bench_tree", ["bench/ioctl_entry", "bench/ioctl_return", "task/task_newtask"])
        self._pools = Buffer("bench_pools", ["bench/txg_sync"])

    def begin(self, pid: int) -> None:
        """Follow this process, which has not begun yet, and its children."""
        self._tree.follow(pid)
        self._tree.clear()
        self._pools.clear()

    def end(self) -> Trace:
        """What was seen since `begin`."""
        ioctls, processes = _tree_events(self._tree.events())
        syncs = [(time, _field(text, "pool").strip('"')) for _, time, _, text in self._pools.events()]
        return Trace(ioctls, processes, syncs)


class Buffer:
    """One instance of the kernel's tracer."""

    def __init__(self, name: str, events: list[str]) -> None:
        self._directory = TRACEFS / "instances" / name
        self._directory.mkdir(exist_ok=True)
        self._write("trace_clock", "mono")
        self._write("buffer_size_kb", str(BUFFER_KIB))
        self._write("options/event-fork", "1")
        for event in events:
            self._write(f"events/{event}/enable", "1")

    def follow(self, pid: int) -> None:
        self._write("set_event_pid", str(pid))

    def clear(self) -> None:
        self._write("trace", "")

    def events(self) -> list[tuple[int, float, str, str]]:
        """(thread, time, event, its fields), in order of time."""
        self._check_whole()
        with (self._directory / "trace").open() as file:
            found = [EVENT.match(line) for line in file if not line.startswith("#")]
        return [(int(m[1]), float(m[2]), m[3], m[4]) for m in found if m]

    def _check_whole(self) -> None:
        for stats in self._directory.glob("per_cpu/cpu*/stats"):
            lost = LOST.search(stats.read_text())
            if lost is None or lost[1] != "0":
                raise TraceError(f"{self._directory.name}: events were lost, BUFFER_KIB is too small")

    def _write(self, name: str, text: str) -> None:
        (self._directory / name).write_text(text)


def _tree_events(events: list[tuple[int, float, str, str]]) -> tuple[list[Ioctl], int]:
    ioctls: list[Ioctl] = []
    entered: dict[int, tuple[str, float]] = {}
    processes = 1
    for thread, time, event, fields in events:
        if event == "ioctl_entry":
            number = int(_field(fields, "command"), 16)
            entered[thread] = (COMMANDS.get(number, hex(number)), time)
        elif event == "ioctl_return" and thread in entered:
            command, begin = entered.pop(thread)
            ioctls.append(Ioctl(command, begin, time))
        elif event == "task_newtask" and not int(_field(fields, "clone_flags"), 16) & CLONE_THREAD:
            processes += 1
    if entered:
        raise TraceError(f"ioctls without an end: {sorted(name for name, _ in entered.values())}")
    return ioctls, processes


def _field(text: str, name: str) -> str:
    found = re.search(rf"\b{name}=(\S+)", text)
    if found is None:
        raise TraceError(f"no {name} in {text!r}")
    return found[1]


def within(trace: Trace, begin: float, end: float) -> Iterator[Ioctl]:
    """The calls that were begun in a span of time."""
    return (ioctl for ioctl in trace.ioctls if begin <= ioctl.begin <= end)
