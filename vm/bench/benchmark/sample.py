"""One run of one tool, as it is written down."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from .measure import Run, RunFailed
from .pools import TARGET
from .tools import Tool
from .tracing import within

# What writes a ledger: bookmarks and records.
LEDGER = {"bookmark", "destroy_bookmarks", "channel_program", "set_prop"}


@dataclass(frozen=True)
class Window:
    """From "disk open" to "ledger written"."""

    begin: float
    end: float


def sample(tool: Tool, round_number: int, runs: list[Run]) -> dict[str, Any]:
    """What one run cost: the whole command, and the window."""
    window = _window(runs[0]) if tool.whole else Window(runs[1].begin, runs[1].end)
    ioctls = [ioctl for run in runs for ioctl in within(run.trace, window.begin, window.end)]
    syncs = [time for run in runs for time, pool in run.trace.syncs if pool == TARGET]
    return {
        "tool": tool.name,
        "round": round_number,
        "seconds": round(sum(run.end - run.begin for run in runs), 3),
        "cpu_seconds": round(sum(run.cpu_seconds for run in runs), 3),
        "machine_cpu_seconds": round(sum(run.machine_cpu_seconds for run in runs), 3),
        "processes": sum(run.trace.processes for run in runs),
        "ioctls": sum(len(run.trace.ioctls) for run in runs),
        "txg_syncs": len(syncs),
        "peak_process_mib": round(max(run.peak_process_mib for run in runs), 1),
        "peak_tree_mib": round(max(run.peak_tree_mib for run in runs), 1),
        "window_seconds": round(window.end - window.begin, 3),
        "window_ioctls": len(ioctls),
        "window_txg_syncs": sum(window.begin <= time <= window.end for time in syncs),
        "window_ioctls_by_command": dict(Counter(ioctl.command for ioctl in ioctls).most_common()),
        "start_to_first_ioctl_seconds": round(_first_ioctl_seconds(runs[0]), 4),
    }


def timeline(runs: list[Run]) -> list[tuple[float, float, str]]:
    """Begin and duration in milliseconds of every ioctl, and which it is."""
    begin = runs[0].begin
    return [
        (round((ioctl.begin - begin) * 1000, 1), round((ioctl.end - ioctl.begin) * 1000, 1), ioctl.command)
        for run in runs
        for ioctl in run.trace.ioctls
    ]


def _first_ioctl_seconds(run: Run) -> float:
    return min(ioctl.begin for ioctl in run.trace.ioctls) - run.begin


def _window(run: Run) -> Window:
    """Of a command that opens and closes the disk itself."""
    opened = [ioctl.end for ioctl in run.trace.ioctls if ioctl.command == "pool_import"]
    closing = [ioctl.begin for ioctl in run.trace.ioctls if ioctl.command == "pool_export"]
    if not opened or not closing:
        raise RunFailed("it did not import and export")
    inside = within(run.trace, opened[-1], closing[0])
    written = [ioctl.end for ioctl in inside if ioctl.command in LEDGER]
    if not written:
        raise RunFailed("it wrote no ledger")
    return Window(opened[-1], max(written))
