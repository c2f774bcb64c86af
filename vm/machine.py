#!/usr/bin/env python3
"""Boots the guest, runs one command in it, and returns that command's status.

    machine.py --image DIR [OPTIONS] -- COMMAND [ARGUMENT...]

The command's output is streamed as it comes. 124: it took too long.
125: the machine did not come up, or died.
"""

import argparse
import asyncio
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from harness import disks, qmp, session
from harness.job import Job
from harness.qemu import Hardware

TIME_UP_STATUS = 124
MACHINE_FAILED_STATUS = 125
TAIL_LINES = 40
COMPILED = shutil.ignore_patterns("__pycache__")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--image", type=Path, required=True, help="directory made by vm/image/build")
    parser.add_argument("--disks", type=Path, help="keep the disk images here from boot to boot")
    parser.add_argument("--plug", action="append", default=[], choices=disks.USB_DISKS, metavar="DISK",
                        help="USB disk that is plugged in at power-on (repeatable)")  # fmt: skip
    parser.add_argument("--share", type=Path, action="append", default=[], metavar="PATH",
                        help="program or directory to put into the guest's /host/bin (repeatable)")  # fmt: skip
    parser.add_argument("--results", type=Path, metavar="DIR",
                        help="gets the files that the command leaves in the guest's /host/results")  # fmt: skip
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE",
                        help="environment of the command (repeatable)")  # fmt: skip
    parser.add_argument("--hostid", type=hostid, default="0badcafe", help="eight hex digits; 0: none")
    parser.add_argument("--hostname", default="host1")
    parser.add_argument("--processors", type=int, default=2, metavar="NUMBER")
    parser.add_argument("--memory", type=int, default=2048, metavar="MIB")
    parser.add_argument("--faithful", action="store_true",
                        help="a modern processor and the kernel as it comes, also where it is emulated (slow)")  # fmt: skip
    parser.add_argument("--boot-limit", type=float, default=600, metavar="SECONDS")
    parser.add_argument("--time-limit", type=float, metavar="SECONDS", help="for the command (default: none)")
    parser.add_argument("--scratch", type=Path, help="where the files of this run live while it lasts")
    parser.add_argument("--log", type=Path, help="keep what the guest's console says here")
    parser.add_argument("--terminal", action="store_true", help="the command gets this terminal")
    parser.add_argument("command", nargs="+")
    return parser.parse_args()


def hostid(text: str) -> str:
    """Eight hex digits, as hostid(1) prints them."""
    return f"{int(text, 16) & 0xFFFFFFFF:08x}" if int(text, 16) else "none"


def main() -> int:
    options = parse_arguments()
    if options.scratch:
        options.scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="run-", dir=options.scratch) as name:
        return asyncio.run(run(options, Path(name).resolve()))


async def run(options: argparse.Namespace, directory: Path) -> int:
    exit_on_signals()
    log: Path = options.log or directory / "console.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_bytes(b"")
    hardware = Hardware(
        guest_image=options.image.resolve(),
        disks=(options.disks or directory / "disks").resolve(),
        share=directory / "share",
        console_log=log,
        hostid=options.hostid,
        hostname=options.hostname,
        processors=options.processors,
        memory_mib=options.memory,
        faithful=options.faithful,
        terminal=options.terminal,
    )
    disks.create_missing(hardware.disks)
    job = Job(options.command, dict(pair.split("=", 1) for pair in options.env), options.terminal)
    fill_share(hardware.share, job, options.share)
    try:
        return await session.run(
            hardware, job, options.plug, options.boot_limit, options.time_limit, write_out
        )
    except session.TimeUp as error:
        explain(str(error), log)
        return TIME_UP_STATUS
    except (session.GuestDied, qmp.QmpError) as error:
        explain(str(error), log)
        return MACHINE_FAILED_STATUS
    finally:
        if options.results:
            # Also what a command wrote that did not end well.
            shutil.copytree(hardware.share / "results", options.results, dirs_exist_ok=True)


def exit_on_signals() -> None:
    """A hangup or a SIGTERM ends us as Control-C does: with everything undone."""
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, task.cancel)


def fill_share(share: Path, job: Job, programs: list[Path]) -> None:
    """Lay out what the guest mounts at /host."""
    programs_directory = share / "bin"
    programs_directory.mkdir(parents=True)
    (share / "results").mkdir()
    job.write(share / "job")
    guest_programs = sorted((Path(__file__).parent / "guest").iterdir())
    for program in [*guest_programs, *programs]:
        if program.is_dir():
            shutil.copytree(program, programs_directory / program.name, ignore=COMPILED)
        else:
            shutil.copy(program, programs_directory)


def write_out(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def explain(problem: str, log: Path) -> None:
    print(f"\nvm: {problem}. The end of its console:\n{session.tail(log, TAIL_LINES)}", file=sys.stderr)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit(130)
