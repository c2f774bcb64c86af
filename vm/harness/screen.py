"""The terminal, which several lanes share: one is seen live, the others wait for their turn."""

import sys


class Screen:
    """Output of the first lane as it comes, of the next one once the first has ended, and so on."""

    def __init__(self, lanes: int) -> None:
        self._waiting = {lane: b"" for lane in range(lanes)}
        self._ended: set[int] = set()
        self._in_a_line = False

    def write(self, lane: int, data: bytes) -> None:
        """Output of a lane, cut anywhere."""
        self._waiting[lane] += data
        self._show_first()

    def end(self, lane: int) -> None:
        """Nothing more comes from this lane."""
        self._ended.add(lane)
        self._show_first()

    def write_now(self, data: bytes) -> None:
        """Output of what has the terminal to itself."""
        self._show(data)

    def say(self, text: str) -> None:
        """Words of our own, at once and on a line of their own."""
        if self._in_a_line:
            self._show(b"\n")
        print(f"vm: {text}", file=sys.stderr, flush=True)

    def _show_first(self) -> None:
        for lane in list(self._waiting):
            self._show(self._waiting[lane])
            self._waiting[lane] = b""
            if lane not in self._ended:
                return
            del self._waiting[lane]

    def _show(self, data: bytes) -> None:
        if data:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
            self._in_a_line = not data.endswith(b"\n")
