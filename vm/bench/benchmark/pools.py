"""The host's pool and the disk's: made anew for each case, and the same again for each run.

Both pools get a checkpoint when a case is prepared. Before every run they are rewound to it, so that
each tool finds the same bytes on disk, nothing in the cache, and nothing that another tool has left.
"""

import subprocess

from . import system
from .system import run

HOST_DISK = "/dev/disk/by-id/virtio-HOST1"
HOST_PARTITION = f"{HOST_DISK}-part1"
USB_DISK = "/dev/disk/by-id/usb-QEMU_QEMU_HARDDISK_USB1-0:0"
USB_PARTUUID = "11111111-1111-4111-8111-111111111111"
USB_PARTITION = f"/dev/disk/by-partuuid/{USB_PARTUUID}"
USB_MIB = 2048
SOURCE, TARGET = "tank", "backup"

IMPORT_TARGET = ["zpool", "import", "-N", "-d", USB_PARTITION, TARGET]
EXPORT_TARGET = ["zpool", "export", TARGET]


def plug_disks() -> None:
    """One partition on the host's disk, one on a USB disk of the benchmark's size."""
    system.await_devices(HOST_DISK)
    system.control(f"reset usb1 {USB_MIB}")
    system.control("plug usb1")
    system.await_devices(USB_DISK)
    run("sgdisk", "-n", "1:2048:0", "-t", "1:bf01", HOST_DISK)
    run("sgdisk", "-n", "1:2048:0", "-t", "1:bf01", "-u", f"1:{USB_PARTUUID}", USB_DISK)
    system.await_devices(HOST_PARTITION, USB_PARTITION)


def create() -> None:
    """Two empty pools. Nothing of the disk is ever mounted."""
    options = ["-f", "-o", "cachefile=none", "-O", "atime=off", "-O", "compression=lz4"]
    run("zpool", "create", *options, "-O", "mountpoint=/tank", SOURCE, HOST_PARTITION)
    run("zpool", "create", *options, "-O", "mountpoint=none", TARGET, USB_PARTITION)


def create_volumes(names: list[str]) -> None:
    """File systems in the host's pool, parents first. Many are made at once: they share transaction
    groups."""
    parents = {name.rpartition("/")[0] for name in names}
    for name in names:
        if name in parents:
            run("zfs", "create", f"{SOURCE}/{name}")
    leaves = "\n".join(f"{SOURCE}/{name}" for name in names if name not in parents)
    subprocess.run(["xargs", "-r", "-P8", "-n1", "zfs", "create"], input=leaves, text=True, check=True)


def destroy() -> None:
    """Remove both pools, the disk's being exported."""
    run(*IMPORT_TARGET)
    for pool in (SOURCE, TARGET):
        run("zpool", "destroy", "-f", pool)


def checkpoint() -> None:
    """Keep the state that all runs start from; the disk's pool is exported then."""
    for pool in (SOURCE, TARGET):
        run("zpool", "sync", pool)
        run("zpool", "checkpoint", pool)
    run(*EXPORT_TARGET)


def rewind() -> None:
    """Back to the checkpoint, with cold caches. A rewind uses it up, so it is made again."""
    run("zpool", "export", SOURCE)
    rewinding = ["zpool", "import", "--rewind-to-checkpoint", "-o", "cachefile=none"]
    run(*rewinding, "-d", HOST_PARTITION, SOURCE)
    run("zpool", "checkpoint", SOURCE)
    run(*rewinding, "-N", "-d", USB_PARTITION, TARGET)
    run("zpool", "checkpoint", TARGET)
    run(*EXPORT_TARGET)


def snapshot_names(dataset: str) -> set[str]:
    """All snapshots at and below a dataset. Names alone are quick to list."""
    return set(system.lines("zfs", "list", "-H", "-r", "-t", "snapshot", "-o", "name", "-s", "name", dataset))


def guids(names: set[str]) -> dict[str, str]:
    """The guid of each snapshot."""
    if not names:
        return {}
    listed = system.lines("zfs", "get", "-Hp", "-o", "name,value", "guid", *sorted(names))
    return dict(line.split("\t") for line in listed)


def close_target() -> None:
    """After a run that broke off: the disk's pool may be imported or not."""
    if TARGET in system.lines("zpool", "list", "-H", "-o", "name"):
        run(*EXPORT_TARGET)
