"""Staged search: measurements of rising cost and truth, and the next second where it pays most."""
