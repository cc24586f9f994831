"""Subnets as ordinary models: the folder, its formats, how it is read again."""
