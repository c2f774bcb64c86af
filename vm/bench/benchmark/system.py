"""Commands that are not measured, and events that are awaited."""

import subprocess
from pathlib import Path

CONTROL = Path("/dev/virtio-ports/zbackup.control")
WAIT_SECONDS = 60


class CommandFailed(Exception):
    """A command of the preparations ended with an error."""


def run(*command: str) -> str:
    """Run a command and return what it printed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CommandFailed(f"{' '.join(command)[:300]}: status {done.returncode}\n{done.stderr.strip()}")
    return done.stdout.strip()


def lines(*command: str) -> list[str]:
    """The lines that a command printed."""
    return run(*command).splitlines()


def control(request: str) -> None:
    """Have the machine outside do something with a disk."""
    with CONTROL.open("r+b", buffering=0) as port:
        port.write(request.encode() + b"\n")
        answer = port.readline().decode().strip()
    if not answer.startswith("ok"):
        raise CommandFailed(f"{request}: {answer}")


def await_devices(*paths: str) -> None:
    """Return when udev is done with these."""
    run("udevadm", "wait", f"--timeout={WAIT_SECONDS}", "--settle", *paths)
