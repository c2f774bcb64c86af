"""zbackup's configuration for the benchmark."""

from pathlib import Path

from . import pools
from .system import run

CONFIG = Path("/etc/zbackup.ini")


def configure(volumes: list[str], recursive: bool = False, intermediate: bool = False) -> None:
    """Write the configuration: these volumes, a plain disk, all else by default."""
    guid = run("zpool", "get", "-Hpo", "value", "guid", pools.SOURCE)
    volume_lines = "\n         ".join(volumes)
    CONFIG.write_text(
        f"[DEFAULT]\nvolume = {volume_lines}\nrecursive = {_word(recursive)}\n\n"
        f"[USB device]\npartuuid = {pools.USB_PARTUUID}\nbackup_pool = {pools.TARGET}\n\n"
        f"[host1]\nguid = {guid}\nintermediate = {_word(intermediate)}\n"
    )
    CONFIG.chmod(0o600)


def back_up() -> None:
    """The first backup, which a case begins with. The disk's pool is imported before, exported after."""
    run(*pools.EXPORT_TARGET)
    run("zbackup", "usb")


def _word(flag: bool) -> str:
    return "yes" if flag else "no"
