"""The control channel: the guest asks, one line each, to have disks moved."""

import asyncio
import socket

from .disks import MIB, DiskError, UsbDisks
from .qmp import QmpError


async def serve(sock: socket.socket, disks: UsbDisks) -> None:
    """Answer each request with one line, `ok …` or `error …`, until QEMU ends."""
    reader, writer = await asyncio.open_connection(sock=sock)
    try:
        while line := await reader.readline():
            words = line.decode(errors="replace").split()
            try:
                answer = f"ok {await _carry_out(words, disks)}".rstrip()
            except (DiskError, QmpError, OSError) as error:
                answer = f"error {error}".replace("\n", " ")
            writer.write(answer.encode() + b"\n")
            await writer.drain()
    except ConnectionError:
        pass  # QEMU ended in the middle of an answer
    finally:
        writer.close()


async def _carry_out(words: list[str], disks: UsbDisks) -> str:
    match words:
        case ["plug", disk]:
            await disks.plug(disk)
        case ["unplug", disk]:
            await disks.unplug(disk)
        case ["reset", disk]:
            disks.reset(disk)
        case ["reset", disk, size] if size.isdecimal():
            disks.reset(disk, int(size) * MIB)
        case ["save", disk]:
            await disks.save(disk)
        case ["restore", disk]:
            await disks.restore(disk)
        case ["size", disk]:
            return str(disks.size_bytes(disk))
        case ["sha256", disk]:
            return await disks.sha256(disk)
        case _:
            raise DiskError(f"cannot make sense of {' '.join(words)!r}")
    return ""
