"""The command of searches and its options."""
