"""QEMU's machine protocol: commands with replies, and the one event we need."""

import asyncio
import json
import socket
from collections import defaultdict, deque
from typing import Any


class QmpError(Exception):
    """QEMU refused a command, or went away before it answered."""


class Qmp:
    """A QMP session. Replies come in the order of the commands."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._replies: deque[asyncio.Future[Any]] = deque()
        self._deleted: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._listener: asyncio.Task[None] | None = None

    @classmethod
    async def connect(cls, sock: socket.socket) -> "Qmp":
        """Take the greeting off `sock`, and leave negotiation mode."""
        reader, writer = await asyncio.open_connection(sock=sock)
        if not await reader.readline():
            raise QmpError("QEMU ended before its greeting")
        qmp = cls(reader, writer)
        qmp._listener = asyncio.create_task(qmp._listen())
        await qmp.execute("qmp_capabilities")
        return qmp

    async def execute(self, command: str, arguments: dict[str, Any] | None = None) -> Any:
        """Run one command; returns its `return` value."""
        if self._listener is None or self._listener.done():
            raise QmpError(f"{command}: QEMU is gone")
        reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._replies.append(reply)
        request = {"execute": command, "arguments": arguments or {}}
        self._writer.write(json.dumps(request).encode() + b"\n")
        return await reply

    async def delete_device(self, device: str, limit_seconds: float) -> None:
        """`device_del`, and wait until the guest's bus has really lost it."""
        deleted = self._deleted[device]
        deleted.clear()
        await self.execute("device_del", {"id": device})
        try:
            await asyncio.wait_for(deleted.wait(), limit_seconds)
        except TimeoutError as error:
            raise QmpError(f"{device} was still there after {limit_seconds:g} s") from error

    async def quit(self) -> None:
        """Ask QEMU to flush its disks and end; it may be gone already."""
        try:
            await self.execute("quit")
        except QmpError:
            pass

    async def close(self) -> None:
        """Stop listening; QEMU itself is not told anything."""
        if self._listener is not None:
            self._listener.cancel()
            await asyncio.gather(self._listener, return_exceptions=True)
        self._writer.close()

    async def _listen(self) -> None:
        try:
            while line := await self._reader.readline():
                self._dispatch(json.loads(line))
        except ConnectionError:
            pass  # the same as the end of the stream: QEMU is gone
        finally:
            for reply in self._replies:
                if not reply.done():
                    reply.set_exception(QmpError("QEMU ended"))

    def _dispatch(self, message: dict[str, Any]) -> None:
        if "event" in message:
            # Children of a device have a path but no id.
            device = message.get("data", {}).get("device")
            if message["event"] == "DEVICE_DELETED" and device:
                self._deleted[device].set()
            return
        reply = self._replies.popleft()
        if reply.cancelled():
            return  # nobody waits for it any more
        if "error" in message:
            reply.set_exception(QmpError(message["error"]["desc"]))
        else:
            reply.set_result(message["return"])
