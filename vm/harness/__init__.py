"""One QEMU machine with real disks, for one job (vm/machine.py), and all tests in two of them (vm/tests.py)."""
