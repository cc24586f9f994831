#!/usr/bin/env python3
"""Search a trained supernet for architectures; see ``python search.py --help``."""

from supernets.cli.entry_points import search

if __name__ == "__main__":
    raise SystemExit(search())
