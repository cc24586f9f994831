"""Names and published numbers of the phases of progressive shrinking.

Paper: Once for All: Train One Network and Specialize it for Efficient Deployment,
https://arxiv.org/abs/1908.09791
"""

from __future__ import annotations

PHASES = ("full", "kernel", "depth-1", "depth-2", "expand-1", "expand-2")
#: The paper's epochs, warm-up epochs and learning rates; those for 32 GPUs with 64 images each.
EPOCHS = (180, 120, 25, 120, 25, 120)
WARMUP_EPOCHS = (5, 5, 0, 5, 0, 5)
LRS = (2.6, 0.96, 0.08, 0.24, 0.08, 0.24)
