#!/usr/bin/env python3
"""One table of what `vm/run test` came to with each OpenZFS: tests by releases.

    matrix.py --results DIR --page FILE

DIR holds RELEASE.json, as tests.py has written it, for each release that was run. The table is
printed, and FILE becomes the page that holds it.
"""

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path

RELEASES = ["bookworm", "trixie", "trixie-backports"]
NEVER = "–"


@dataclass(frozen=True)
class Column:
    """One release's outcome."""

    release: str
    date: str
    openzfs: str
    linux: str
    commit: str
    passed: int
    failures: list[str]
    seconds: dict[str, float]

    def cell(self, test: str) -> str:
        """How one test of the machine ended there."""
        if test in self.seconds:
            return f"{self.seconds[test]:.0f} s"
        return "**failed**" if test in self.failed() else NEVER

    def failed(self) -> set[str]:
        """Names of tests; what else there was to say of a failure stands behind a colon and a blank."""
        return {failure.partition(": ")[0] for failure in self.failures}


def load(folder: Path) -> list[Column]:
    files = [folder / f"{release}.json" for release in RELEASES]
    return [Column(**json.loads(file.read_text())) for file in files if file.exists()]


def row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def page(columns: list[Column]) -> str:
    # What failed on this machine has no row of its own.
    tests = sorted({test for column in columns for test in column.seconds.keys() | column.failed() if "::" in test})
    heads = [("release", "OpenZFS", "Linux", "passed", "failed", "run on", "commit")]
    about = [
        (it.release, it.openzfs, it.linux, str(it.passed), str(len(it.failures)), it.date, it.commit)
        for it in columns
    ]
    lines = ["# Tests by releases", "", "Written by `vm/run matrix`: how each test ended when it was last run.", ""]
    lines += table([list(cells) for cells in heads + about])
    lines += [""] + table(
        [["test of the machine", *(column.release for column in columns)]]
        + [[f"`{test}`", *(column.cell(test) for column in columns)] for test in tests]
    )
    return "\n".join(lines) + "\n"


def table(rows: list[list[str]]) -> list[str]:
    head, *others = rows
    return [row(head), row(["---"] * len(head)), *(row(cells) for cells in others)]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--page", type=Path, required=True)
    options = parser.parse_args()
    columns = load(options.results)
    text = page(columns)
    options.page.write_text(text)
    print(text, end="")
    missing = [release for release in RELEASES if release not in {column.release for column in columns}]
    if missing:
        print(f"never run: {', '.join(missing)}", file=sys.stderr)
    return 1 if missing or any(column.failures for column in columns) else 0


if __name__ == "__main__":
    sys.exit(main())
