"""The scores of a subnet, and what they are measured with."""
