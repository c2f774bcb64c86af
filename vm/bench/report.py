#!/usr/bin/env python3
"""Makes bench.json and bench.md out of what was measured: report.py DIRECTORY."""
import sys
