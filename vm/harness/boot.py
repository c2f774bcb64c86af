"""One boot from its parts: the disks, what the guest finds at /host, and how it ended."""

import asyncio
import shutil
import signal
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from . import disks, qmp, session
from .job import Job
from .qemu import Hardware

GUEST_PROGRAMS = Path(__file__).parent.parent / "guest"
TIME_UP_STATUS = 124
MACHINE_FAILED_STATUS = 125
TAIL_LINES = 40
COMPILED = shutil.ignore_patterns("__pycache__")


class BootFailed(Exception):
    """The command did not come to its end, and here is why; `status` is what tells it in one number."""

    def __init__(self, problem: Exception, status: int, log: Path) -> None:
        super().__init__(f"{problem}. The end of its console:\n{tail(log)}")
        self.problem = str(problem)
        self.status = status


def tail(log: Path) -> str:
    """The last lines of a console."""
    return session.tail(log, TAIL_LINES)


@dataclass(frozen=True)
class Boot:
    """A command for the guest, and the machine that it finds itself in."""

    guest_image: Path
    command: list[str]
    programs: list[Path]
    """Programs and directories for the guest's PATH."""
    scratch: Path | None = None
    """Where the files of this boot live while it lasts."""
    log: Path | None = None
    """Keeps what the guest's console says."""
    kept_disks: Path | None = None
    """Disks of an earlier boot, and of the next one."""
    plugged: list[str] = field(default_factory=list)
    results: Path | None = None
    """Gets the files that the command leaves in the guest's /host/results."""
    environment: dict[str, str] = field(default_factory=dict)
    hostid: str = "0badcafe"
    hostname: str = "host1"
    processors: int = 2
    memory_mib: int = 2048
    faithful: bool = False
    terminal: bool = False
    boot_limit_seconds: float = 600
    time_limit_seconds: float | None = None

    async def run(self, sink: Callable[[bytes], None]) -> int:
        """Pass the command's output to `sink` as it comes; returns the command's status."""
        if self.scratch:
            self.scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="run-", dir=self.scratch) as name:
            return await self._run_in(Path(name).resolve(), sink)

    async def _run_in(self, directory: Path, sink: Callable[[bytes], None]) -> int:
        log = self.log or directory / "console.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_bytes(b"")
        hardware = self._hardware(directory, log)
        disks.create_missing(hardware.disks)
        job = Job(self.command, self.environment, self.terminal)
        self._fill_share(hardware.share, job)
        try:
            return await session.run(
                hardware, job, self.plugged, self.boot_limit_seconds, self.time_limit_seconds, sink
            )
        except session.TimeUp as error:
            raise BootFailed(error, TIME_UP_STATUS, log) from error
        except (session.GuestDied, qmp.QmpError) as error:
            raise BootFailed(error, MACHINE_FAILED_STATUS, log) from error
        finally:
            if self.results:
                # Also what a command wrote that did not end well.
                shutil.copytree(hardware.share / "results", self.results, dirs_exist_ok=True)

    def _hardware(self, directory: Path, log: Path) -> Hardware:
        return Hardware(
            guest_image=self.guest_image.resolve(),
            disks=(self.kept_disks or directory / "disks").resolve(),
            share=directory / "share",
            console_log=log,
            hostid=self.hostid,
            hostname=self.hostname,
            processors=self.processors,
            memory_mib=self.memory_mib,
            faithful=self.faithful,
            terminal=self.terminal,
        )

    def _fill_share(self, share: Path, job: Job) -> None:
        """Lay out what the guest mounts at /host."""
        programs_directory = share / "bin"
        programs_directory.mkdir(parents=True)
        (share / "results").mkdir()
        job.write(share / "job")
        for program in [*sorted(GUEST_PROGRAMS.iterdir()), *self.programs]:
            if program.is_dir():
                shutil.copytree(program, programs_directory / program.name, ignore=COMPILED)
            else:
                shutil.copy(program, programs_directory)


def exit_on_signals() -> None:
    """A hangup or a SIGTERM ends us as Control-C does: with everything undone."""
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, task.cancel)
