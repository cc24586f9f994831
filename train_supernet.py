#!/usr/bin/env python3
"""Train a weight-sharing supernet; see ``python train_supernet.py --help``."""

from paceline_commands import train

if __name__ == "__main__":
    raise SystemExit(train())
