"""Runs the cases and writes what was measured into /host/results/measured.json."""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from . import cases, limit, machine, pools, scale, tools
from .cases import CASES, Scene, Size
from .measure import Meter, RunFailed
from .sample import sample, timeline
from .system import CommandFailed
from .tools import TOOLS, Tool
from .tracing import TraceError

RESULTS = Path("/host/results/measured.json")
EXTRA = ("limit", "scale")


def main() -> int:
    options = parse_arguments()
    size = cases.QUICK if options.quick else cases.FULL
    wanted = options.case or [*CASES, *EXTRA]
    bench = Bench(Meter(), size, options.rounds or (1 if options.quick else 3), options)
    tools.unpack_peers()
    pools.plug_disks()
    bench.results |= {"quick": options.quick, "rounds": bench.rounds, "machine": machine.describe()}
    # On the bare disk: it comes before there is a pool on it.
    if "limit" in wanted:
        bench.results["limit"] = limit.measure(size, bench.rounds)
    for name in CASES:
        if name in wanted:
            bench.case(name)
    if "scale" in wanted:
        bench.results["scale"] = scale.measure(bench.meter, options.quick, say)
    bench.write()
    return 1 if bench.failures else 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="vm/run bench")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, one round: does it run?")
    parser.add_argument("--rounds", type=int, help="of every case (default: 3)")
    parser.add_argument("--case", action="append", choices=[*CASES, *EXTRA], help="only this (repeatable)")
    parser.add_argument("--tool", action="append", choices=[tool.name for tool in TOOLS],
                        help="only this (repeatable)")  # fmt: skip
    parser.add_argument("--timeline", action="store_true", help="write down every ioctl, too")
    return parser.parse_args()


class Bench:
    """All that was measured."""

    def __init__(self, meter: Meter, size: Size, rounds: int, options: argparse.Namespace) -> None:
        self.meter = meter
        self.options = options
        self.quick = options.quick
        self.rounds = rounds
        self.size = size
        self.failures: list[str] = []
        self.results: dict[str, Any] = {"size": vars(size), "cases": {}, "failures": self.failures}

    def case(self, name: str) -> None:
        """One case: its pools are made, then every tool has its turn in every round."""
        case = CASES[name]
        say(f"{name}: preparing")
        begin = time.monotonic()
        scene = case.prepare(self.size)
        say(f"{name}: prepared in {time.monotonic() - begin:.0f} s")
        samples: list[dict[str, Any]] = []
        self.results["cases"][name] = {"title": case.title, "samples": samples}
        for number in range(self.rounds):
            only_one = self.quick and case.variant
            for tool in TOOLS[:1] if only_one else self._order(number, scene):
                self._turn(name, scene, tool, number, samples)
        pools.destroy()

    def _turn(
        self, case: str, scene: Scene, tool: Tool, number: int, samples: list[dict[str, Any]]
    ) -> None:
        try:
            pools.rewind()
            runs = [self.meter.run(step, tools.ENVIRONMENT) for step in tools.steps(tool, scene)]
            cases.verify(scene)
            found = sample(tool, number, runs)
        except (RunFailed, CommandFailed, TraceError) as error:
            say(f"{case}: {tool.name}: FAILED: {error}")
            self.failures.append(f"{case}: {tool.name}, round {number + 1}: {error}")
            pools.close_target()
            return
        if self.options.timeline:
            found["timeline"] = timeline(runs)
        samples.append(found)
        say(f"{case}: {tool.name}: {found['window_seconds']:.1f} of {found['seconds']:.1f} s, "
            f"{found['window_ioctls']} ioctls, {found['processes']} processes")  # fmt: skip
        self.write()

    def _order(self, number: int, scene: Scene) -> list[Tool]:
        """Another one begins in every round."""
        wanted = [tool for tool in TOOLS if tool.name in (self.options.tool or [tool.name])]
        able = [tool for tool in wanted if scene.changed or tool.for_idle]
        first = number * 2 % len(able)
        return able[first:] + able[:first]

    def write(self) -> None:
        """Keep what there is: the machine may not live to the end."""
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(self.results, indent=1) + "\n")


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
