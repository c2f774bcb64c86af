"""What all parts of the tests come to: the last lines of a run."""

import json
import os
from pathlib import Path

from .libtest import Reader
from .screen import Screen

SLOWEST = 10


class Report:
    """Counts, names and durations, from all parts."""

    def __init__(self, screen: Screen) -> None:
        self.passed = 0
        self.failures: list[str] = []
        self.not_run = 0
        self.seconds: dict[str, float] = {}
        self._screen = screen

    def add(self, part: str, reader: Reader, problem: str | None) -> None:
        """A part has ended. With a `problem` it counts as at least one failure, whatever it printed."""
        reader.end()
        self.passed += reader.passed
        self.failures += reader.failed
        self.failures += [f"{name}: {problem or 'ended without a result'}" for name in reader.broken_off]
        if problem and not reader.failed and not reader.broken_off:
            self.failures.append(f"{part}: {problem}")

    def count(self) -> int:
        """How many tests there were so far."""
        return self.passed + len(self.failures)

    def save(self, path: Path, about: dict[str, str]) -> None:
        """Write it down for the table of all releases, with what it was run with."""
        seconds = {name: round(taken, 1) for name, taken in self.seconds.items()}
        outcome = {"passed": self.passed, "failures": self.failures, "seconds": seconds}
        path.write_text(json.dumps(about | outcome, indent=0, sort_keys=True))

    def sum_up(self) -> int:
        """Say it all, the sum last; returns the exit status."""
        slowest = sorted(self.seconds, key=self.seconds.__getitem__, reverse=True)[:SLOWEST]
        longest = [f"{self.seconds[name]:6.1f} s  {name}" for name in slowest]
        self._list("what took longest in the virtual machine", longest)
        if self.not_run:
            self._screen.say(f"{self.not_run} tests were not run, because of a failure before them")
        self._list("failed", self.failures)
        print(f"{self.passed} passed, {len(self.failures)} failed")
        return 1 if self.failures else 0

    def _list(self, heading: str, lines: list[str]) -> None:
        if lines:
            self._screen.say("\n    ".join([f"{heading}:", *lines]))


def load_seconds(path: Path) -> dict[str, float]:
    """What tests took when they last passed; nothing if this was never kept."""
    try:
        return {str(name): float(seconds) for name, seconds in json.loads(path.read_text()).items()}
    except (OSError, ValueError, AttributeError):
        return {}


def save_seconds(path: Path, seconds: dict[str, float]) -> None:
    """Keep what tests took, beside what is known of others."""
    known = load_seconds(path) | {name: round(taken, 1) for name, taken in seconds.items()}
    new = path.with_suffix(f".{os.getpid()}")
    new.write_text(json.dumps(known, indent=0, sort_keys=True))
    new.rename(path)
