"""Differentiable searches: DARTS, DrNAS, GDAS, and their forms with TSE."""
