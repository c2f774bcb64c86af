"""The benchmark's part in the guest, `python3 -m benchmark`. vm/bench/README.md tells the rest."""
