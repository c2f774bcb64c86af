#!/usr/bin/env python3
"""All tests, on this machine and in the virtual one. The last line is "N passed, N failed".

    tests.py --image DIR --scratch DIR --durations FILE --time-limit SECONDS -- [FILTER...]
"""

import argparse
import asyncio
import datetime
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from harness.boot import Boot, exit_on_signals
from harness.cargo import Cargo, CargoFailed
from harness.deal import deal
from harness.lanes import Lanes
from harness.libtest import Reader
from harness.report import Report, load_seconds, save_seconds
from harness.screen import Screen

# What a machine of a lane may take of this one's memory; it holds 2 GiB of its own.
LANE_BYTES = 3 << 30
# Tests below a module of this name also run the program that was built without libcryptsetup.
WITHOUT_CRYPTSETUP = "no_containers"
# Tests below a module of this name run the programs that show how the library is used.
EXAMPLES = "examples"


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--image", type=Path, required=True, help="directory made by vm/image/build")
    parser.add_argument("--scratch", type=Path, required=True, help="where logs and programs go")
    parser.add_argument("--build-root", type=Path, metavar="DIR",
                        help="what to build and test in, if the image is of another release")  # fmt: skip
    parser.add_argument("--durations", type=Path, required=True, help="keeps how long each test took")
    parser.add_argument("--results", type=Path, metavar="FILE", help="gets what came of it, for matrix.py")
    parser.add_argument("--release", help="whose results these are")
    parser.add_argument("--time-limit", type=float, metavar="SECONDS", required=True,
                        help="how long a machine may say nothing: the longest test takes less")  # fmt: skip
    parser.add_argument("filters", nargs="*", metavar="FILTER", help="a part of the names of tests")
    return parser.parse_args()


async def run(options: argparse.Namespace) -> int:
    exit_on_signals()
    screen = Screen(lanes())
    report = Report(screen)
    options.scratch.mkdir(parents=True, exist_ok=True)
    cargo = Cargo(options.build_root)
    names: list[str] = []
    with part(report, screen, "building the tests of the virtual machine"):
        await build_guest_tests(cargo, options.scratch)
        names = list_tests(cargo, options.scratch, [])
    # Who names a test of the virtual machine by its path means no others.
    if not options.filters or not all(is_path(filter_, names) for filter_ in options.filters):
        with part(report, screen, "tests on this machine"):
            await host_tests(cargo, options.filters, report, screen)
    if names:
        with part(report, screen, "tests in the virtual machine"):
            await guest_tests(cargo, options, report, screen)
    if report.count() == 0 and not options.filters:
        report.failures.append("no test ran at all")
    if options.results:
        report.save(options.results, about(cargo, options))
    return report.sum_up()


def about(cargo: Cargo, options: argparse.Namespace) -> dict[str, str]:
    """What the tests ran with."""

    def said(*command: str) -> str:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    linux = re.search(rb"Linux version (\S+)", (options.image / "vmlinux").read_bytes())
    return {
        "release": options.release,
        "date": str(datetime.date.today()),
        "openzfs": said(*cargo.enter, "pkg-config", "--modversion", "libzfs"),
        "linux": linux[1].decode() if linux else "",
        "commit": said("git", "rev-parse", "--short", "HEAD"),
    }


@contextmanager
def part(report: Report, screen: Screen, name: str) -> Iterator[None]:
    """One part of the whole, which is timed; where it does not even compile, that is one failure."""
    begun = time.monotonic()
    screen.say(name)
    try:
        yield
    except CargoFailed as error:
        report.failures.append(f"{name}: {error}")
    screen.say(f"{name}: {time.monotonic() - begun:.0f} s")


async def build_guest_tests(cargo: Cargo, scratch: Path) -> None:
    built = await cargo.build("test", "--features", "vm-tests", "--test", "vm", "--no-run")
    keep(built["test", "vm"], scratch / "vm-tests")
    keep(built["bin", "zbackup"], scratch / "zbackup")


async def build_without_cryptsetup(cargo: Cargo, scratch: Path) -> None:
    # As the program of a test it shares all dependencies with that one.
    features = ["--no-default-features", "--features", "fault-injection"]
    built = await cargo.build("test", *features, "--test", "cli", "--no-run")
    keep(built["bin", "zbackup"], scratch / "zbackup-plain")


async def build_examples(cargo: Cargo, folder: Path) -> None:
    built = await cargo.build("build", "--package", "openzfs", "--examples")
    folder.mkdir(exist_ok=True)
    for (kind, name), program in built.items():
        if kind == "example":
            keep(program, folder / name)


def keep(program: Path, name: Path) -> None:
    """The next build puts another file in its place, and this one stays what it is."""
    name.unlink(missing_ok=True)
    os.link(program, name)


def list_tests(cargo: Cargo, scratch: Path, filters: list[str]) -> list[str]:
    """The tests for the machine that are meant; they never run out here."""
    command = [*cargo.enter, str(scratch.resolve() / "vm-tests"), "--list", *filters]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return [line.removesuffix(": test") for line in lines if line.endswith(": test")]


def is_path(filter_: str, names: list[str]) -> bool:
    inside = filter_.removesuffix("::") + "::"
    return "::" in filter_ and any(name == filter_ or name.startswith(inside) for name in names)


async def host_tests(cargo: Cargo, filters: list[str], report: Report, screen: Screen) -> None:
    reader = Reader(lambda _: None)
    status = await cargo.test(filters, both(screen.write_now, reader.feed))
    report.add("cargo test", reader, f"ended with status {status}" if status else None)


async def guest_tests(
    cargo: Cargo, options: argparse.Namespace, report: Report, screen: Screen
) -> None:
    scratch: Path = options.scratch
    names = list_tests(cargo, scratch, options.filters)
    # No boot for a filter that means none of these.
    if not names:
        screen.say("none of them is meant by the filter")
        return
    programs = [scratch / "vm-tests", scratch / "zbackup"]
    if any(WITHOUT_CRYPTSETUP in name.split("::") for name in names):
        await build_without_cryptsetup(cargo, scratch)
        programs.append(scratch / "zbackup-plain")
    if any(EXAMPLES in name.split("::") for name in names):
        await build_examples(cargo, scratch / "openzfs-examples")
        programs.append(scratch / "openzfs-examples")
    boot = partial(
        Boot,
        guest_image=options.image,
        programs=programs,
        scratch=scratch,
    )
    shares = deal(names, load_seconds(options.durations), lanes())
    await Lanes(boot, scratch, shares, options.time_limit, report, screen).run()
    save_seconds(options.durations, report.seconds)


def lanes() -> int:
    """How many machines run side by side."""
    memory_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return max(1, min(len(os.sched_getaffinity(0)), memory_bytes // LANE_BYTES))


def both(*sinks: Callable[[bytes], None]) -> Callable[[bytes], None]:
    def sink(data: bytes) -> None:
        for one in sinks:
            one(data)

    return sink


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(run(parse_arguments())))
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit(130)
