#!/usr/bin/env python3
"""Train a weight-sharing supernet; see ``python train_supernet.py --help``."""

from supernets.cli.entry_points import train

if __name__ == "__main__":
    raise SystemExit(train())
