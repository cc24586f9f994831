#!/usr/bin/env python3
"""Search a trained supernet for architectures; see ``python search.py --help``."""

from search.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
