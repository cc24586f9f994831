"""How well scores rank architectures: the comparison and its report."""
