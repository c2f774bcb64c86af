"""What cargo builds, and the tests that it runs itself."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path


ENTER = Path(__file__).parent.parent / "enter"


class CargoFailed(Exception):
    """What it has to say about it is on the terminal already."""


class Cargo:
    """Cargo on this machine, or in the root of another Debian release."""

    def __init__(self, build_root: Path | None = None) -> None:
        self.enter = [] if build_root is None else [str(ENTER), str(build_root)]

    async def build(self, *arguments: str) -> dict[tuple[str, str], Path]:
        """Run cargo with `arguments`; returns the programs that it names, by kind and name."""
        async with self._run(*arguments, "--message-format=json-render-diagnostics") as process:
            messages, _ = await process.communicate()
        if process.returncode != 0:
            raise CargoFailed(f"cargo {' '.join(arguments)} ended with status {process.returncode}")
        programs: dict[tuple[str, str], Path] = {}
        for message in map(json.loads, messages.splitlines()):
            if message.get("executable"):
                target = message["target"]
                programs |= {(kind, target["name"]): Path(message["executable"]) for kind in target["kind"]}
        return programs

    async def test(self, filters: list[str], sink: Callable[[bytes], None]) -> int:
        """`cargo test`; what the tests print goes to `sink`. Returns the status."""
        async with self._run("test", "--no-fail-fast", "--", *filters) as process:
            assert process.stdout is not None
            while chunk := await process.stdout.read(65536):
                sink(chunk)
            return await process.wait()

    @asynccontextmanager
    async def _run(self, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """In a session of its own: no test finds a terminal, and all that it starts ends with us."""
        process = await asyncio.create_subprocess_exec(
            *self.enter,
            "cargo",
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGTERM)
                await process.wait()
