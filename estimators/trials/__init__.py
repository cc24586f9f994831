"""Trials and the file that remembers them."""
