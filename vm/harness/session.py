"""One boot: start QEMU, run the job, stream its output, end QEMU."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from . import control
from .disks import UsbDisks
from .job import GuestDied, Job, Output
from .qemu import Channels, Hardware, command_line
from .qmp import Qmp

QUIT_LIMIT_SECONDS = 30


class TimeUp(Exception):
    """The job took longer than it may."""


async def run(
    hardware: Hardware,
    job: Job,
    plugged: list[str],
    boot_limit_seconds: float,
    job_limit_seconds: float | None,
    sink: Callable[[bytes], None],
) -> int:
    """Boot, run `job` with the disks `plugged` in, return its exit status.

    Raises GuestDied when the machine does not come up or ends by itself,
    TimeUp when the job does not end.
    """
    ours, theirs = _channels()
    async with _qemu(hardware, theirs) as process:
        reader, writer = await asyncio.open_connection(sock=ours.output)
        output = Output(reader)
        async with _power(ours.qmp, process) as qmp:
            disks = UsbDisks(hardware.disks, qmp)
            for disk in plugged:
                await disks.plug(disk)
            server = asyncio.create_task(control.serve(ours.control, disks))
            try:
                await qmp.execute("cont")
                async with _limit(boot_limit_seconds, GuestDied("the machine did not come up")):
                    await output.copy_until(job.up_marker, lambda _: None)
                async with _limit(job_limit_seconds, TimeUp("the job did not end")):
                    await output.copy_until(job.exit_marker, sink)
                    return int(await output.line())
            finally:
                server.cancel()
                await asyncio.gather(server, return_exceptions=True)
                writer.close()


def _channels() -> tuple[Channels, Channels]:
    pairs = [socket.socketpair() for _ in range(3)]
    return Channels(*(ours for ours, _ in pairs)), Channels(*(theirs for _, theirs in pairs))


@asynccontextmanager
async def _qemu(hardware: Hardware, channels: Channels) -> AsyncIterator[asyncio.subprocess.Process]:
    """QEMU as our child, which is gone afterwards on every path."""
    # What QEMU itself has to say ends up beside what the kernel says.
    with hardware.console_log.open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *command_line(hardware, channels),
            stdin=None if hardware.terminal else asyncio.subprocess.DEVNULL,
            stdout=None if hardware.terminal else log,
            stderr=log,
            pass_fds=channels.fds(),
            # Control-C is for us; in a terminal session it is for the guest.
            start_new_session=not hardware.terminal,
            # The copy-on-write layer of root.img goes here.
            env=os.environ | {"TMPDIR": str(hardware.share.parent)},
        )
    channels.close()
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@asynccontextmanager
async def _power(sock: socket.socket, process: asyncio.subprocess.Process) -> AsyncIterator[Qmp]:
    """A QMP session; on the way out QEMU is asked to write out and end."""
    qmp = await Qmp.connect(sock)
    try:
        yield qmp
    finally:
        try:
            async with asyncio.timeout(QUIT_LIMIT_SECONDS):
                await qmp.quit()
                await process.wait()
        except TimeoutError:
            pass  # _qemu kills it
        await qmp.close()


@asynccontextmanager
async def _limit(seconds: float | None, otherwise: Exception) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise otherwise from None


def tail(path: Path, lines: int) -> str:
    """The last lines of a log, for a person to read."""
    text = path.read_text(errors="replace") if path.exists() else ""
    return "\n".join(text.splitlines()[-lines:])


__all__ = ["GuestDied", "TimeUp", "run", "tail"]
