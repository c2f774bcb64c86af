"""Machines of one processor each, side by side: one for each processor that there is.

Under emulation two processors make one machine hardly faster, and two machines take half the time.
"""

import asyncio
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .boot import Boot, BootFailed, tail
from .deal import Share, Story
from .libtest import Reader
from .report import Report
from .screen import Screen

HOST_B = {"hostid": "0badbeef", "hostname": "host2"}


class Lanes:
    """Runs what each lane was dealt, and a story of another's where its own have come to an end.

    A machine that says nothing for `silence_seconds`, so in the middle of a test, hangs.
    """

    def __init__(
        self,
        boot: Callable[..., Boot],
        scratch: Path,
        shares: list[Share],
        silence_seconds: float,
        report: Report,
        screen: Screen,
    ) -> None:
        self._boot = boot
        self._silence_seconds = silence_seconds
        self._scratch = scratch
        self._shares = shares
        self._report = report
        self._screen = screen
        self._begun = time.monotonic()

    async def run(self) -> None:
        """Ends when all lanes have; all machines are gone then, on every path."""
        async with asyncio.TaskGroup() as group:
            for lane in range(len(self._shares)):
                group.create_task(self._lane(lane))

    async def _lane(self, lane: int) -> None:
        tests = self._shares[lane].tests
        if tests:
            await self._tests(lane, tests, f"console-{lane}.log")
            self._ended(lane, f"its {len(tests)} tests in one boot have")
        while story := self._next_story(lane):
            await self._story(lane, story)
            self._ended(lane, f"{story.name} has")
        self._screen.end(lane)

    def _next_story(self, lane: int) -> Story | None:
        if mine := self._shares[lane].stories:
            return mine.pop(0)
        others = [share.stories for share in self._shares if share.stories]
        return others[0].pop() if others else None

    async def _story(self, lane: int, story: Story) -> None:
        """Each boot finds the disks as the last one left them: after a failed step others could only fail."""
        with tempfile.TemporaryDirectory(prefix="disks-", dir=self._scratch) as disks:
            for done, step in enumerate(story.steps, 1):
                machine: dict[str, Any] = {"kept_disks": Path(disks)}
                if step.endswith("_on_b"):
                    machine |= HOST_B
                if step.endswith("_on_two_processors"):
                    machine["processors"] = 2
                log = f"console-{step.replace('::', '-')}.log"
                if not await self._tests(lane, [step], log, **machine):
                    self._report.not_run += len(story.steps) - done
                    self._screen.say(f"lane {lane}: {step} failed: the rest of {story.name} is left out")
                    return

    async def _tests(self, lane: int, names: list[str], log: str, **machine: Any) -> bool:
        """One boot for these tests; true if all of them passed."""
        reader = Reader(lambda name: self._screen.say(f"lane {lane}: {name} failed"))

        def sink(data: bytes) -> None:
            self._screen.write(lane, data)
            reader.feed(data)
            silence.reschedule(asyncio.get_running_loop().time() + self._silence_seconds)

        command = ["vm-tests", "--test-threads=1", "--exact", *names]
        machine = {"processors": 1} | machine
        boot = self._boot(command=command, log=self._scratch / log, **machine)
        problem = None
        try:
            async with asyncio.timeout(self._silence_seconds) as silence:
                if status := await boot.run(sink):
                    problem = f"ended with status {status}"
        except TimeoutError:
            problem = f"had not ended after {self._silence_seconds:g} s"
            self._screen.say(f"lane {lane}: {problem}. The end of its console:\n{tail(self._scratch / log)}")
        except BootFailed as error:
            problem = error.problem
            self._screen.say(f"lane {lane}: {error}")
        reader.end()
        ran = reader.passed + len(reader.failed) + len(reader.broken_off)
        if problem is None and ran < len(names):
            problem = f"only {ran} of {len(names)} tests ran"
        self._report.add(log, reader, problem)
        self._report.seconds |= reader.seconds
        self._report.not_run += max(len(names) - ran, 0)
        return problem is None

    def _ended(self, lane: int, what: str) -> None:
        self._screen.say(f"lane {lane}: {what} ended after {time.monotonic() - self._begun:.0f} s")
