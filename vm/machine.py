#!/usr/bin/env python3
"""Boots the guest, runs one command in it, and returns that command's status.

    machine.py --image DIR [OPTIONS] -- COMMAND [ARGUMENT...]

The command's output is streamed as it comes. 124: it took too long.
125: the machine did not come up, or died.
"""

import argparse
import asyncio
import sys
from pathlib import Path

from harness import disks
from harness.boot import Boot, BootFailed, exit_on_signals


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


async def run(options: argparse.Namespace) -> int:
    exit_on_signals()
    boot = Boot(
        guest_image=options.image,
        command=options.command,
        programs=options.share,
        scratch=options.scratch,
        log=options.log,
        kept_disks=options.disks,
        plugged=options.plug,
        results=options.results,
        environment=dict(pair.split("=", 1) for pair in options.env),
        hostid=options.hostid,
        hostname=options.hostname,
        processors=options.processors,
        memory_mib=options.memory,
        faithful=options.faithful,
        terminal=options.terminal,
        boot_limit_seconds=options.boot_limit,
        time_limit_seconds=options.time_limit,
    )
    try:
        return await boot.run(write_out)
    except BootFailed as error:
        print(f"\nvm: {error}", file=sys.stderr)
        return error.status


def write_out(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(run(parse_arguments())))
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit(130)
