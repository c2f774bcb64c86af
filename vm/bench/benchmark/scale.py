"""How planning grows: time, memory and ioctls of a dry run, by volumes and snapshots."""

from collections import Counter
from collections.abc import Callable
from typing import Any

from . import pools, zbackup
from .measure import Meter, Run
from .pools import SOURCE
from .system import run
from .tracing import within

VOLUMES = [1, 10, 100, 1000]
SNAPSHOTS = [1, 10, 100]
# Beyond, an emulated machine takes longer than anybody waits. A thousand mounted file systems need more
# than the 1 GiB that the kernel's cache has in a machine of 2 GiB.
MOST_SNAPSHOTS = 10_000
QUICK_VOLUMES, QUICK_SNAPSHOTS = [2], [2]


def measure(meter: Meter, quick: bool, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """A dry run for a disk that has nothing yet, and one for a disk that has the newest snapshot."""
    rows = []
    for volumes in QUICK_VOLUMES if quick else VOLUMES:
        pools.create()
        pools.create_volumes(["data", *(f"data/v{index:04}" for index in range(1, volumes))])
        zbackup.configure(["/data"], recursive=True)
        run(*pools.EXPORT_TARGET)
        made = 0
        for snapshots in QUICK_SNAPSHOTS if quick else SNAPSHOTS:
            if volumes * snapshots > MOST_SNAPSHOTS:
                break
            for number in range(made, snapshots):
                run("zfs", "snapshot", "-r", f"{SOURCE}/data@s{number:03}")
            made = snapshots
            row = {"volumes": volumes, "snapshots": snapshots, "new_disk": _planning(meter)}
            rows.append(row)
            say(f"scale: {row}")
        # What the disk has then is the newest snapshot alone, and the ledger knows it as the base.
        backup = meter.run(["zbackup", "usb"])
        rows[-1]["first_backup_seconds"] = round(backup.end - backup.begin, 3)
        rows[-1]["known_disk"] = _planning(meter)
        say(f"scale: {rows[-1]}")
        pools.destroy()
    return rows


def _planning(meter: Meter) -> dict[str, Any]:
    """From the disk being open to the table."""
    measured = meter.run(["zbackup", "-n", "usb"])
    begin, end = _between_import_and_export(measured)
    ioctls = Counter(ioctl.command for ioctl in within(measured.trace, begin, end))
    return {
        "seconds": round(end - begin, 3),
        "cpu_seconds": round(measured.cpu_seconds, 3),
        "ioctls": ioctls.total(),
        "ioctls_by_command": dict(ioctls.most_common()),
        "peak_process_mib": round(measured.peak_process_mib, 1),
    }


def _between_import_and_export(measured: Run) -> tuple[float, float]:
    ioctls = measured.trace.ioctls
    begin = [ioctl.end for ioctl in ioctls if ioctl.command == "pool_import"]
    end = [ioctl.begin for ioctl in ioctls if ioctl.command == "pool_export"]
    return begin[-1], end[0]
