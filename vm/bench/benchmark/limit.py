"""How quick the bare USB disk is: what no way to fill it can beat."""

import time

from .cases import Size
from .pools import USB_PARTITION
from .system import run


def measure(size: Size, rounds: int) -> dict[str, object]:
    """Sequential writes past the cache, as much as the bulk cases send."""
    seconds = [_write(size.bulk_mib) for _ in range(rounds)]
    return {"mib": size.bulk_mib, "seconds": [round(one, 3) for one in seconds]}


def _write(mib: int) -> float:
    begin = time.monotonic()
    run("dd", "if=/dev/zero", f"of={USB_PARTITION}", "bs=1M", f"count={mib}", "oflag=direct", "conv=fsync")
    return time.monotonic() - begin
