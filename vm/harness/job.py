"""The job: a script that the guest runs, and the stream that comes back.

Output and exit status share one port, so that nothing can overtake: a marker
with a random token says "the machine is up", another one carries the status.
"""

import asyncio
import secrets
import shlex
from collections.abc import Callable
from pathlib import Path

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ENVIRONMENT = {
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "PATH": PATH,
    "ZBACKUP_BIN": "/usr/local/bin/zbackup",
    "ZBACKUP_VM": "1",
}


class GuestDied(Exception):
    """The machine did not come up, or ended before the job did."""


class Job:
    """One command line for the guest, under the environment above."""

    def __init__(self, command: list[str], environment: dict[str, str], terminal: bool) -> None:
        self._command = command
        self._environment = ENVIRONMENT | environment
        self._terminal = terminal
        token = secrets.token_hex(8)
        self.up_marker = f"\0up {token}\n".encode()
        self.exit_marker = f"\0exit {token} ".encode()

    def write(self, path: Path) -> None:
        """Write the script that the image's zbackup-job service runs."""
        exports = [f"export {name}={shlex.quote(value)}" for name, value in self._environment.items()]
        command = shlex.join(self._command)
        if self._terminal:
            command = f"setsid --ctty --wait {command} </dev/hvc0 >/dev/hvc0 2>&1"
        lines = [
            "#!/bin/bash",
            *exports,
            # The shared directory is read anew at every start of a program from it.
            "cp -a /host/bin/. /usr/local/bin/",
            "cd /root",
            _printf(self.up_marker),
            command,
            "status=$?",
            # What has failed may have left a pool whose disk is gone: no sync comes to its end.
            '[ "$status" != 0 ] || sync',
            f'{_printf(self.exit_marker)}"$status\n"',
        ]
        path.write_text("\n".join(lines) + "\n")
        path.chmod(0o755)


def _printf(marker: bytes) -> str:
    text = marker.decode().replace("\0", r"\0").replace("\n", r"\n")
    return f"printf '{text}%s' "


class Output:
    """What comes out of the guest, cut at markers."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._buffer = b""

    async def copy_until(self, marker: bytes, sink: Callable[[bytes], None]) -> None:
        """Pass on, at once, all that comes before `marker`."""
        while True:
            before, found, after = self._buffer.partition(marker)
            if found:
                sink(before)
                self._buffer = after
                return
            safe_bytes = len(self._buffer) - _overlap(self._buffer, marker)
            sink(self._buffer[:safe_bytes])
            self._buffer = self._buffer[safe_bytes:]
            await self._fill()

    async def line(self) -> str:
        """The rest of the current line."""
        while b"\n" not in self._buffer:
            await self._fill()
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode()

    async def _fill(self) -> None:
        try:
            chunk = await self._reader.read(65536)
        except ConnectionError:
            chunk = b""
        if not chunk:
            raise GuestDied("the guest died")
        self._buffer += chunk


def _overlap(data: bytes, marker: bytes) -> int:
    """How many bytes at the end of `data` may be the start of `marker`."""
    for length in range(min(len(data), len(marker) - 1), 0, -1):
        if marker.startswith(data[-length:]):
            return length
    return 0
