#!/usr/bin/env python3
"""Makes bench.json and bench.md out of DIRECTORY/measured.json: report.py DIRECTORY."""

import json
import platform
import statistics
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

PEERS = ("syncoid", "zfs-autobackup", "bzfs")
MEMORY_BAR_MIB = 48
MEMORY_BAR_SNAPSHOTS = 10_000
# Old snapshots may cost next to nothing, not nothing at all.
HISTORY_BAR = 1.1

Results = dict[str, Any]
# Medians by tool, then by what was measured.
Medians = dict[str, dict[str, float]]


def main() -> int:
    directory = Path(sys.argv[1])
    results: Results = json.loads((directory / "measured.json").read_text())
    results["host"] = {"processor": _processor(), "kernel": platform.release()}
    for case in results["cases"].values():
        case["medians"] = medians(case["samples"])
    if not results["quick"]:
        results["bars"] = list(bars(results))
    (directory / "bench.json").write_text(json.dumps(results, indent=1) + "\n")
    (directory / "bench.md").write_text("\n".join(page(results)) + "\n")
    return 0


def medians(samples: list[dict[str, Any]]) -> Medians:
    """Of every number that the runs of a tool have."""
    by_tool: dict[str, list[dict[str, Any]]] = {}
    for sample in samples:
        by_tool.setdefault(sample["tool"], []).append(sample)
    return {tool: {"runs": len(runs), **_median_of_each(runs)} for tool, runs in by_tool.items()}


def _median_of_each(runs: list[dict[str, Any]]) -> dict[str, float]:
    names = [name for name, value in runs[0].items() if isinstance(value, int | float) and name != "round"]
    return {name: statistics.median(run[name] for run in runs) for name in names}


def ratio(case: Medians, tool: str, other: str, what: str) -> float | None:
    """How one tool stands to another; None where one of them was not measured."""
    if tool not in case or other not in case:
        return None
    return case[tool][what] / case[other][what]


# --- the bars ------------------------------------------------------------


def bars(results: Results) -> Iterator[dict[str, Any]]:
    """What is promised, what was measured, and whether it holds."""
    cases = {name: case["medians"] for name, case in results["cases"].items()}
    for name in ("bulk", "bulk-lz4"):
        if case := cases.get(name):
            yield _bar(f"{name}: window / loop", _of_zbackup(case, "loop", "window_seconds"), 0.75)
            yield _bar(f"{name}: window / bare", _of_zbackup(case, "bare", "window_seconds"), 1.05)
    if case := cases.get("many-small"):
        yield _bar("many-small: window / loop", _of_zbackup(case, "loop", "window_seconds"), 0.30)
        yield _bar("many-small: window / fastest peer", _to_fastest_peer(case), 0.08)
    if case := cases.get("idle"):
        yield _bar("idle: window / fastest peer", _to_fastest_peer(case), 0.05)
    if all("zbackup" in cases.get(name, {}) for name in ("history", "many-small")):
        counts = [cases[name]["zbackup"]["window_ioctls"] for name in ("history", "many-small")]
        yield _bar("history: ioctls / those of many-small", counts[0] / counts[1], HISTORY_BAR)
    for name, case in cases.items():
        if "loop" in case:
            yield _bar(f"{name}: whole command / loop", _of_zbackup(case, "loop", "seconds"), 1.0)
    for row in results.get("scale", []):
        if row["volumes"] * row["snapshots"] == MEMORY_BAR_SNAPSHOTS:
            peak_mib = max(part["peak_process_mib"] for part in _plannings(row))
            yield _bar(f"{row['volumes']} × {row['snapshots']} snapshots: MiB", peak_mib, MEMORY_BAR_MIB)


def _bar(name: str, measured: float | None, limit: float) -> dict[str, Any]:
    holds = None if measured is None else measured <= limit
    return {"bar": name, "measured": measured, "limit": limit, "holds": holds}


def _of_zbackup(case: Medians, other: str, what: str) -> float | None:
    return ratio(case, "zbackup", other, what)


def _to_fastest_peer(case: Medians) -> float | None:
    ratios = [_of_zbackup(case, peer, "window_seconds") for peer in PEERS]
    return max((found for found in ratios if found is not None), default=None)


def _plannings(row: dict[str, Any]) -> list[dict[str, Any]]:
    return [row[kind] for kind in ("new_disk", "known_disk") if kind in row]


# --- the page ------------------------------------------------------------


def page(results: Results) -> Iterator[str]:
    """The Markdown text, line by line."""
    yield from _machine(results)
    for name, case in results["cases"].items():
        yield from ["", f"### {name}: {_title(name, case, results['size'])}", ""]
        yield from _case_table(case["medians"])
    if limit := results.get("limit"):
        yield from ["", _limit_line(limit)]
    if "bars" in results:
        yield from ["", "### Bars", ""]
        yield from _bars_table(results["bars"])
    if rows := results.get("scale"):
        yield from ["", "### Scale: planning of a dry run", ""]
        yield from _scale_table(rows)
        yield from ["", *_first_backups(rows)]
    if results["failures"]:
        yield from ["", "### Failed runs, in no median", ""]
        yield from (f"- {failure.splitlines()[0]}" for failure in results["failures"])


def _machine(results: Results) -> Iterator[str]:
    machine = results["machine"]
    where = "in a VM under emulation" if machine["emulated"] else "in a VM"
    tools = ", ".join(f"{name} {version}" for name, version in machine["tools"].items())
    yield f"Measured on {machine['date']} {where}, medians of {results['rounds']} rounds"
    if results["quick"]:
        yield "**at the tiny sizes of `--quick`: these figures only show that the benchmark runs**"
    yield f"({machine['processors']} processors “{machine['processor']}” and {machine['memory_mib']} MiB"
    yield f"on “{results['host']['processor']}”; Linux {machine['kernel']}, OpenZFS {machine['openzfs']};"
    yield f"{tools})."


def _title(name: str, case: dict[str, Any], size: dict[str, int]) -> str:
    if name.startswith("bulk"):
        return f"{case['title']}, {size['bulk_mib']} MiB"
    snapshots = f", {size['history']} snapshots each" if name == "history" else ""
    return f"{case['title']}, {size['volumes']} volumes{snapshots}"


def _case_table(case: Medians) -> Iterator[str]:
    yield _row("tool", "window s", "to loop", "whole s", "to loop", "CPU s", "processes", "ioctls",
               "txg syncs", "largest process MiB", "all MiB")  # fmt: skip
    yield _row("---", *["---:"] * 10)
    for tool, values in case.items():
        yield _row(
            tool,
            f"{values['window_seconds']:.2f}",
            _times(ratio(case, tool, "loop", "window_seconds")),
            f"{values['seconds']:.2f}",
            _times(ratio(case, tool, "loop", "seconds")),
            f"{values['cpu_seconds']:.2f}",
            *(f"{values[name]:.0f}" for name in ("processes", "window_ioctls", "window_txg_syncs")),
            *(f"{values[name]:.0f}" for name in ("peak_process_mib", "peak_tree_mib")),
        )


def _limit_line(limit: dict[str, Any]) -> str:
    seconds = statistics.median(limit["seconds"])
    rate = limit["mib"] / seconds
    return f"The bare USB disk takes {limit['mib']} MiB in {seconds:.2f} s ({rate:.0f} MiB/s)."


def _bars_table(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    yield _row("bar", "measured", "at most", "holds")
    yield _row("---", "---:", "---:", "---")
    for row in rows:
        if row["measured"] is not None:
            holds = "yes" if row["holds"] else "**no**"
            yield _row(row["bar"], f"{row['measured']:.3g}", f"{row['limit']:g}", holds)


def _scale_table(rows: list[dict[str, Any]]) -> Iterator[str]:
    yield _row("volumes", "snapshots each", "disk", "s", "CPU s", "ioctls", "MiB")
    yield _row("---:", "---:", "---", "---:", "---:", "---:", "---:")
    for row in rows:
        for kind, disk in (("new_disk", "empty"), ("known_disk", "up to date")):
            if kind in row:
                yield _row(row["volumes"], row["snapshots"], disk, *_planning_cells(row[kind]))


def _first_backups(rows: list[dict[str, Any]]) -> Iterator[str]:
    yield "The first backup between the last two rows of each number of volumes, whole command:"
    found = [(row["volumes"], row["first_backup_seconds"]) for row in rows if "first_backup_seconds" in row]
    yield ", ".join(f"{volumes} in {seconds:.1f} s" for volumes, seconds in found) + "."


def _planning_cells(planning: dict[str, Any]) -> list[object]:
    formats: dict[str, Callable[[float], str]] = {
        "seconds": "{:.2f}".format,
        "cpu_seconds": "{:.2f}".format,
        "ioctls": "{}".format,
        "peak_process_mib": "{:.1f}".format,
    }
    return [show(planning[name]) for name, show in formats.items()]


def _times(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _row(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


if __name__ == "__main__":
    sys.exit(main())
