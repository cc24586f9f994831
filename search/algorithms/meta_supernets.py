"""What stands for a space where only a table is searched: it has the costs of the networks."""

from __future__ import annotations

from supernets.cost.analytic import Counting
from supernets.spaces.factory import SPACES


def meta_supernet(space: str) -> Counting | None:
    """Builds what knows a space and the costs of its published networks, without weights.

    Where the space counts without PyTorch that is not loaded; otherwise it is a supernet on the
    meta device.

    Returns:
        What counts, or None for a space that there are only tables of, and no costs.

    Raises:
        ValueError: If the space is unknown.
    """
    definition = SPACES.find(space)
    if definition.counts is not None:
        counts: Counting = definition.object_of("counts")(num_classes=definition.published_classes)
        return counts
    if not definition.has_networks:
        return None
    import torch  # here, as it takes seconds to load

    from supernets.networks.factory import create_supernet

    with torch.device("meta"):
        return create_supernet(space, num_classes=definition.published_classes)
