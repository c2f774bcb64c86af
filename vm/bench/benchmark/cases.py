"""The cases: what is on both sides when a tool begins, and what must be on the disk when it has ended."""

import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from . import pools, zbackup
from .measure import RunFailed
from .pools import SOURCE, TARGET
from .system import run

RECORD = 128 * 1024
MIB = 1024 * 1024


@dataclass(frozen=True)
class Size:
    """How large the cases are."""

    bulk_mib: int
    volumes: int
    history: int


FULL = Size(bulk_mib=512, volumes=50, history=40)
QUICK = Size(bulk_mib=8, volumes=2, history=2)


@dataclass(frozen=True)
class Scene:
    """Two pools at their checkpoint."""

    # The volumes' parent, relative to both pools.
    top: str
    volumes: list[str]
    # Short name of the snapshot that both sides have; None where the disk has nothing.
    base: str | None
    # Whether every volume has something new.
    changed: bool
    # Snapshots of the source before a run.
    snapshots: set[str]

    def pairs(self) -> list[tuple[str, str]]:
        """Each volume on both sides."""
        return [(f"{SOURCE}/{volume}", f"{TARGET}/{volume}") for volume in self.volumes]


@dataclass(frozen=True)
class Case:
    """One case of the benchmark."""

    name: str
    title: str
    prepare: Callable[[Size], Scene]
    # Tells the tools nothing that another case does not, where sizes are tiny.
    variant: bool = False


def prepare_bulk(size: Size) -> Scene:
    """One volume that cannot be compressed; the disk has nothing of it."""
    return _bulk(size, lambda: os.urandom(MIB))


def prepare_bulk_lz4(size: Size) -> Scene:
    """One volume of which every block can be compressed to half; the disk has nothing of it."""
    half = RECORD // 2
    return _bulk(size, lambda: b"".join(os.urandom(half) + bytes(half) for _ in range(MIB // RECORD)))


def _bulk(size: Size, block: Callable[[], bytes]) -> Scene:
    pools.create()
    run("zfs", "create", f"{SOURCE}/bulk")
    with Path(f"/{SOURCE}/bulk/data").open("wb") as file:
        for _ in range(size.bulk_mib):
            file.write(block())
    zbackup.configure(["/bulk"])
    return _at_checkpoint("bulk", ["bulk"], base=None, changed=True)


def prepare_many_small(size: Size) -> Scene:
    """Many volumes, all on the disk, one small change in each since."""
    return _many(size, history=1, changed=True)


def prepare_idle(size: Size) -> Scene:
    """Many volumes, all on the disk, no change since."""
    return _many(size, history=1, changed=False)


def prepare_history(size: Size) -> Scene:
    """Many volumes with many snapshots, all on the disk, one small change in each since."""
    return _many(size, history=size.history, changed=True)


def _many(size: Size, history: int, changed: bool) -> Scene:
    pools.create()
    volumes = [f"data/v{number:02}" for number in range(1, size.volumes + 1)]
    pools.create_volumes(["data", *volumes])
    base = _grow_history(volumes, history)
    zbackup.configure(["/data"], recursive=True, intermediate=True)
    zbackup.back_up()
    zbackup.configure(["/data"], recursive=True)
    if changed:
        _write_small_files(volumes, "new")
    run(*pools.IMPORT_TARGET)
    return _at_checkpoint("data", ["data", *volumes], base, changed)


def _grow_history(volumes: list[str], history: int) -> str:
    """So many snapshots, each with a change. Their names are such that zfs-autobackup takes them for
    its own, and each is one atomic call: a volume takes one snapshot in a transaction group."""
    name = ""
    for number in range(history):
        _write_small_files(volumes, f"file{number}")
        name = f"bench-20250101{number // 3600:02}{number // 60 % 60:02}{number % 60:02}"
        run("zfs", "snapshot", "-r", f"{SOURCE}/data@{name}")
    return name


def _write_small_files(volumes: list[str], name: str) -> None:
    for volume in volumes:
        Path(f"/{SOURCE}/{volume}/{name}").write_bytes(random.randbytes(4096))


def _at_checkpoint(top: str, volumes: list[str], base: str | None, changed: bool) -> Scene:
    # zfs-autobackup's mark of what it backs up; the other tools do not mind.
    run("zfs", "set", "autobackup:bench=true", f"{SOURCE}/{top}")
    snapshots = pools.snapshot_names(f"{SOURCE}/{top}")
    pools.checkpoint()
    return Scene(top, volumes, base, changed, snapshots)


def verify(scene: Scene) -> None:
    """Insist that the disk has the newest snapshot of every volume, and that it is a new one where
    there was a change. The comparison is by guid."""
    run("zpool", "import", "-N", "-o", "readonly=on", "-d", pools.USB_PARTITION, TARGET)
    try:
        missing = _missing(scene)
    finally:
        run(*pools.EXPORT_TARGET)
    if missing:
        raise RunFailed(f"{len(missing)} volumes are not on the disk: {', '.join(missing[:5])}")


def _missing(scene: Scene) -> list[str]:
    on_source = pools.snapshot_names(f"{SOURCE}/{scene.top}")
    on_target = pools.snapshot_names(f"{TARGET}/{scene.top}")
    new = {name.partition("@")[0]: name for name in on_source - scene.snapshots}
    wanted: dict[str, str] = {}
    for source, target in scene.pairs():
        # The parent of many volumes has no change of its own.
        must_be_new = scene.changed and (len(scene.volumes) == 1 or source != f"{SOURCE}/{scene.top}")
        newest = new.get(source) or (None if must_be_new or scene.base is None else f"{source}@{scene.base}")
        if newest is None:
            return [f"{source} has no new snapshot"]
        wanted[newest] = target + "@" + newest.partition("@")[2]
    there = {source: target for source, target in wanted.items() if target in on_target}
    guids = pools.guids({*there.keys(), *there.values()})
    return [source for source in wanted if source not in there or guids[source] != guids[there[source]]]


CASES = {
    case.name: case
    for case in [
        Case("bulk", "one volume, incompressible, first backup", prepare_bulk),
        Case("bulk-lz4", "one volume, compressible with lz4, first backup", prepare_bulk_lz4, variant=True),
        Case("many-small", "many volumes, one small change each", prepare_many_small),
        Case("idle", "many volumes, nothing changed", prepare_idle),
        Case("history", "many volumes with a history, one small change each", prepare_history, variant=True),
    ]
}
