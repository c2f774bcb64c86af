"""The disks of a machine: sparse raw files, and the USB ones on their cables."""

import asyncio
import hashlib
from pathlib import Path

from .qmp import Qmp

MIB = 1024 * 1024
HOST_DISKS = {"host1": 2048 * MIB, "host2": 2048 * MIB}
USB_DISKS = {"usb1": 1024 * MIB, "usb2": 1024 * MIB, "usb3": 1024 * MIB}
UNPLUG_LIMIT_SECONDS = 30


class DiskError(Exception):
    """A request that makes no sense for the disk as it is now."""


def image(directory: Path, disk: str) -> Path:
    """The file behind a disk."""
    return directory / f"{disk}.img"


def create_missing(directory: Path) -> None:
    """Fresh disks, except those that an earlier boot left in `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    for disk, size_bytes in (HOST_DISKS | USB_DISKS).items():
        if not image(directory, disk).exists():
            _create(image(directory, disk), size_bytes)


def _create(path: Path, size_bytes: int) -> None:
    with path.open("wb") as file:
        file.truncate(size_bytes)


class UsbDisks:
    """The USB disks of a running machine."""

    def __init__(self, directory: Path, qmp: Qmp) -> None:
        self._directory = directory
        self._qmp = qmp
        self._plugged: set[str] = set()

    async def plug(self, disk: str) -> None:
        """Put the disk into a port of the guest's USB controller."""
        self._known(disk)
        if disk in self._plugged:
            raise DiskError(f"{disk} is plugged in")
        # A block node of our own: QEMU would throw a -drive away on unplug.
        await self._qmp.execute(
            "blockdev-add",
            {
                "node-name": f"{disk}-image",
                "driver": "raw",
                "discard": "unmap",
                "file": {"driver": "file", "filename": str(image(self._directory, disk))},
            },
        )
        await self._qmp.execute(
            "device_add",
            {
                "driver": "usb-storage",
                "id": disk,
                "bus": "usb.0",
                "drive": f"{disk}-image",
                "serial": disk.upper(),
            },
        )
        self._plugged.add(disk)

    async def unplug(self, disk: str) -> None:
        """Pull the disk, whatever the guest is doing with it."""
        self._known(disk)
        if disk not in self._plugged:
            raise DiskError(f"{disk} is not plugged in")
        await self._qmp.delete_device(disk, UNPLUG_LIMIT_SECONDS)
        self._plugged.remove(disk)
        await self._qmp.execute("blockdev-del", {"node-name": f"{disk}-image"})

    async def sha256(self, disk: str) -> str:
        """Digest of the whole image, as it is now."""
        self._known(disk)
        with image(self._directory, disk).open("rb") as file:
            digest = await asyncio.to_thread(hashlib.file_digest, file, "sha256")
        return digest.hexdigest()

    def reset(self, disk: str, size_bytes: int | None = None) -> None:
        """Exchange the disk, which must be unplugged, for a new one."""
        self._known(disk)
        if disk in self._plugged:
            raise DiskError(f"{disk} is plugged in")
        _create(image(self._directory, disk), size_bytes or USB_DISKS[disk])

    async def save(self, disk: str) -> None:
        """Keep the disk's content as it is now: what a pulled cable would leave."""
        self._known(disk)
        saved = image(self._directory, f"{disk}-saved")
        await self._copy(image(self._directory, disk), saved)

    async def restore(self, disk: str) -> None:
        """Give the disk, which must be unplugged, the content that was saved."""
        self._known(disk)
        if disk in self._plugged:
            raise DiskError(f"{disk} is plugged in")
        saved = image(self._directory, f"{disk}-saved")
        if not saved.exists():
            raise DiskError(f"{disk} was not saved")
        await self._copy(saved, image(self._directory, disk))

    @staticmethod
    async def _copy(source: Path, target: Path) -> None:
        copy = await asyncio.create_subprocess_exec("cp", "--sparse=always", "--", source, target)
        if await copy.wait() != 0:
            raise DiskError(f"copying {source.name} failed")

    def size_bytes(self, disk: str) -> int:
        """What the disk says it can hold."""
        self._known(disk)
        return image(self._directory, disk).stat().st_size

    @staticmethod
    def _known(disk: str) -> None:
        if disk not in USB_DISKS:
            raise DiskError(f"no disk {disk!r}, there are {', '.join(USB_DISKS)}")
