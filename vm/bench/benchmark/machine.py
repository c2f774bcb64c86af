"""What the benchmark ran on: processor, kernel, OpenZFS, and the version of every tool."""

import os
import time
from pathlib import Path

from .system import run
from .tools import PEERS

PACKAGES = ["zfsutils-linux", "sanoid", "mbuffer"]


def describe() -> dict[str, object]:
    """The machine, as the guest sees it."""
    processor = _field("/proc/cpuinfo", "model name")
    return {
        "date": time.strftime("%Y-%m-%d"),
        "processor": processor,
        "processors": os.cpu_count(),
        "memory_mib": int(_field("/proc/meminfo", "MemTotal").split()[0]) // 1024,
        "virtual": run("sh", "-c", "systemd-detect-virt || true"),
        "emulated": "TCG" in processor,
        "kernel": os.uname().release,
        "openzfs": Path("/sys/module/zfs/version").read_text().strip(),
        "tools": _versions(),
    }


def _field(path: str, name: str) -> str:
    lines = Path(path).read_text().splitlines()
    return next(line.partition(":")[2].strip() for line in lines if line.startswith(name))


def _versions() -> dict[str, str]:
    query = run("dpkg-query", "-W", "-f", "${Package} ${Version}\n", *PACKAGES)
    versions = dict(line.split() for line in query.splitlines())
    for info in sorted(PEERS.glob("*.dist-info")):
        name, _, version = info.stem.partition("-")
        versions[name] = version
    return {"zbackup": run("zbackup", "--version").split()[-1], **versions}
