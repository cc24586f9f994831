"""Search algorithms: each proposes architectures from the trials it was told."""
