"""The benchmark's part in the guest. Entry point: `python3 -m benchmark`; vm/bench/README.md tells the rest."""
