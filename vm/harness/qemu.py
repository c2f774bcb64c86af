"""The command line of QEMU: which machine the guest finds itself in."""

import os
import re
import socket
from dataclasses import dataclass
from pathlib import Path

from .disks import HOST_DISKS, image

# What an emulated guest does without: nothing that a test is about.
LEAN_KERNEL = (
    # Every start of a program at the same addresses: code is translated once.
    "norandmaps "
    # An emulator takes `rep movs` byte by byte.
    "clearcpuid=rep_good "
    # Defences and accounts.
    "init_on_alloc=0 hardened_usercopy=off randomize_kstack_offset=off audit=0 lsm= cgroup_disable=memory "
    # For large programs and for people at a desk.
    "transparent_hugepage=never preempt=none"
)


@dataclass(frozen=True)
class Hardware:
    """What one boot is made of."""

    guest_image: Path
    disks: Path
    share: Path
    console_log: Path
    hostid: str
    hostname: str
    processors: int
    memory_mib: int
    faithful: bool
    terminal: bool


@dataclass(frozen=True)
class Channels:
    """QEMU's ends of our sockets; it inherits the descriptors."""

    qmp: socket.socket
    control: socket.socket
    output: socket.socket

    def fds(self) -> tuple[int, ...]:
        """The descriptors that must survive the exec."""
        return (self.qmp.fileno(), self.control.fileno(), self.output.fileno())

    def close(self) -> None:
        """Drop our copies, so that the end of QEMU is the end of the stream."""
        for end in (self.qmp, self.control, self.output):
            end.close()


def command_line(hardware: Hardware, channels: Channels) -> list[str]:
    """The whole command; the machine waits for QMP's `cont`."""
    return [
        # QEMU must not outlive us, not even when we are killed.
        "setpriv", "--pdeathsig", "KILL", "--",
        "qemu-system-x86_64", "-S", "-nodefaults", "-no-reboot", "-display", "none",
        *_processor(hardware),
        "-machine", "q35", "-smp", _processors(hardware), "-m", str(hardware.memory_mib),
        *_kernel(hardware),
        *_disks(hardware),
        "-device", "qemu-xhci,id=usb",
        "-virtfs", f"local,path={hardware.share},mount_tag=host,security_model=none",
        *_ports(hardware, channels),
    ]  # fmt: skip


def _has_kvm() -> bool:
    # On nested hosts without vmx or svm /dev/kvm opens, and then hangs the
    # guest before its first instruction.
    cpuinfo = Path("/proc/cpuinfo").read_text()
    return bool(re.search(r"\b(vmx|svm)\b", cpuinfo)) and os.access("/dev/kvm", os.R_OK | os.W_OK)


def _processor(hardware: Hardware) -> list[str]:
    if _has_kvm():
        return ["-accel", "kvm", "-cpu", "host"]
    # Emulated, an old model with fewer features takes a sixth less time for nearly
    # everything that tests do.
    model = "max" if hardware.faithful else "Westmere"
    return ["-accel", "tcg,thread=multi", "-cpu", model]


def _processors(hardware: Hardware) -> str:
    # For a machine that can have no second processor the emulator leaves memory barriers
    # out, although its devices run in a thread of their own: a notification gets lost
    # now and then, and the guest waits for a disk or a port for ever.
    return f"cpus={hardware.processors},maxcpus={max(hardware.processors, 2)}"


def _kernel(hardware: Hardware) -> list[str]:
    # A kernel or ZFS that finds itself broken is to end the machine, not to
    # hang in it: panic=-1 with -no-reboot. Self-tests of ciphers and mitigations
    # of real processors' bugs only cost time here.
    lean = "" if hardware.faithful or _has_kvm() else f"{LEAN_KERNEL} "
    arguments = (
        "console=ttyS0 quiet loglevel=5 panic=-1 oops=panic spl.spl_panic_halt=1 "
        # A busy host may give no tick in time, which the kernel takes for a broken timer.
        "no_timer_check "
        # A disk that has just been plugged in needs no time to spin up.
        "usb-storage.delay_use=0 "
        f"cryptomgr.notests mitigations=off {lean}"
        f"zbackup.hostid={hardware.hostid} zbackup.hostname={hardware.hostname}"
    )
    return [
        "-kernel", str(hardware.guest_image / "vmlinux"),
        "-initrd", str(hardware.guest_image / "initrd.gz"),
        "-append", arguments,
        "-serial", f"file:{hardware.console_log}",
    ]  # fmt: skip


def _disks(hardware: Hardware) -> list[str]:
    # In this order they are /dev/vda, vdb, vdc.
    root = hardware.guest_image / "root.img"
    arguments = [
        "-drive", f"if=none,id=root,format=raw,snapshot=on,file={root}",
        "-device", "virtio-blk-pci,drive=root",
    ]  # fmt: skip
    for disk in HOST_DISKS:
        file = image(hardware.disks, disk)
        arguments += [
            "-blockdev",
            f"driver=raw,node-name={disk},discard=unmap,file.driver=file,file.filename={file}",
            "-device",
            f"virtio-blk-pci,drive={disk},serial={disk.upper()}",
        ]
    return arguments


def _ports(hardware: Hardware, channels: Channels) -> list[str]:
    arguments = [
        "-chardev", f"socket,id=qmp,fd={channels.qmp.fileno()}",
        "-mon", "chardev=qmp,mode=control",
        "-device", "virtio-serial-pci",
        "-chardev", f"socket,id=output,fd={channels.output.fileno()}",
        "-device", "virtserialport,chardev=output,name=zbackup.output",
        "-chardev", f"socket,id=control,fd={channels.control.fileno()}",
        "-device", "virtserialport,chardev=control,name=zbackup.control",
    ]  # fmt: skip
    if hardware.terminal:
        # Control and ] then x ends a machine that hangs; Control and A is bash's.
        arguments += [
            "-chardev", "stdio,id=terminal,mux=on,signal=off", "-echr", "0x1d",
            "-device", "virtconsole,chardev=terminal",
        ]  # fmt: skip
    return arguments
