"""The tools, and how each is called.

zbackup imports and exports the disk's pool itself. The others are wrapped in `zpool import` and `zpool
export`. All take a snapshot of their own, except where nothing has changed: there, each gets the options
with which it does the least.
"""

import compileall
import re
import shlex
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from . import pools
from .cases import Scene
from .pools import SOURCE, TARGET

PEERS = Path("/run/peers")
OTHERS_TESTS = re.compile("/bzfs_test")
NEW = "new"
MBUFFER = "mbuffer -q -s 128k -m 64M"
# As many as zbackup's default.
PARALLEL = "64"
BULK_PIPE_MIB, SMALL_PIPE_MIB = "64", "1"


@dataclass(frozen=True)
class Tool:
    """One way to bring a scene's volumes onto the disk."""

    name: str
    command: Callable[[Scene], list[str]]
    # Whether it opens and closes the disk itself.
    whole: bool = False
    # Whether it is a tool that people use, or only a bound.
    peer: bool = True
    # Whether it can tell that nothing has changed.
    for_idle: bool = True


def zbackup(_: Scene) -> list[str]:
    """The whole life of the disk in one command."""
    return ["zbackup", "usb"]


def loop(scene: Scene) -> list[str]:
    """What one writes oneself."""
    return _shell_loop(scene, "|")


def loop_mbuffer(scene: Scene) -> list[str]:
    """The same with the usual buffer in the middle."""
    return _shell_loop(scene, f"| {MBUFFER} |")


def _shell_loop(scene: Scene, pipe: str) -> list[str]:
    script = ["set -e -o pipefail", f"zfs snapshot -r {SOURCE}/{scene.top}@{NEW}"]
    for source, target in scene.pairs():
        base = f"-i @{scene.base} " if scene.base else ""
        script.append(f"zfs send {base}{source}@{NEW} {pipe} zfs receive -u {target}")
    return ["bash", "-c", "\n".join(script)]


def syncoid(scene: Scene) -> list[str]:
    """Debian's package sanoid."""
    options = ["--recursive", "--quiet", "--compress=none"]
    if not scene.changed:
        options.append("--no-sync-snap")
    return ["syncoid", *options, f"{SOURCE}/{scene.top}", f"{TARGET}/{scene.top}"]


def zfs_autobackup(_: Scene) -> list[str]:
    """From PyPI. By itself it takes no snapshot of what has not changed."""
    options = ["--no-holds", "--no-thinning", "--strip-path=1"]
    return [sys.executable, "-m", "zfs_autobackup.ZfsAutobackup", *options, "bench", TARGET]


def bzfs(scene: Scene) -> list[str]:
    """From PyPI, without what only serves remote hosts, progress and later pruning."""
    options = [
        "--recursive", "--quiet", "--no-privilege-elevation", f"--threads={PARALLEL}",
        "--create-bookmarks=none", "--no-estimate-send-size", "--compression-program=-",
        "--mbuffer-program=-", "--pv-program=-", "--ps-program=-",
    ]  # fmt: skip
    command = [sys.executable, "-m", "bzfs_main.bzfs", f"{SOURCE}/{scene.top}", f"{TARGET}/{scene.top}"]
    command += options
    if not scene.changed:
        return command
    script = f"zfs snapshot -r {SOURCE}/{scene.top}@{NEW} && exec {shlex.join(command)}"
    return ["sh", "-c", script]


def bare(scene: Scene) -> list[str]:
    """The same ioctls with nothing around them: vm/bench/bare.rs."""
    pairs = [f"{source}={target}" for source, target in scene.pairs()]
    pipe = SMALL_PIPE_MIB if scene.base else BULK_PIPE_MIB
    return ["bare", NEW, scene.base or "-", PARALLEL, pipe, *pairs]


TOOLS = [
    Tool("zbackup", zbackup, whole=True),
    Tool("loop", loop, for_idle=False),
    Tool("loop+mbuffer", loop_mbuffer, for_idle=False),
    Tool("syncoid", syncoid),
    Tool("zfs-autobackup", zfs_autobackup),
    Tool("bzfs", bzfs),
    Tool("bare", bare, peer=False, for_idle=False),
]

ENVIRONMENT = {"PYTHONPATH": str(PEERS)}


def steps(tool: Tool, scene: Scene) -> list[list[str]]:
    """The commands of one run, in order; the tool's own is the middle one of three."""
    command = tool.command(scene)
    return [command] if tool.whole else [pools.IMPORT_TARGET, command, pools.EXPORT_TARGET]


def unpack_peers() -> None:
    """Lay out the tools from PyPI as an installation would, bytecode included."""
    PEERS.mkdir(exist_ok=True)
    for wheel in sorted(Path("/usr/local/bin/wheels").glob("*.whl")):
        zipfile.ZipFile(wheel).extractall(PEERS)
    compileall.compile_dir(PEERS, quiet=1, rx=OTHERS_TESTS)
