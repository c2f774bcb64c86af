"""One QEMU machine with real disks, for one job. Entry point: vm/machine.py."""
