"""Data-parallel training: one flattened all-reduce per step, launched by ``torchrun``.

Every rank runs the same paths, so the same gradients exist everywhere and no search for unused
parameters is needed.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.rendezvous import rendezvous

from supernets.runtime.ranks import ProcessInfo

_logger = logging.getLogger(__name__)


def start_process_group(ranks: ProcessInfo, device: torch.device) -> None:
    """Joins the process group, NCCL on CUDA and gloo elsewhere; nothing to do for one process."""
    if ranks.world_size == 1:
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    # torchrun's own store keeps the addresses of ranks that it has restarted since (PyTorch's
    # issue 135712), and which of two addresses a rank reads would be chance
    store, rank, world_size = next(rendezvous("env://"))
    dist.init_process_group(
        "nccl" if device.type == "cuda" else "gloo",
        store=dist.PrefixStore(name_of_attempt(ranks), store),  # type: ignore[attr-defined]
        rank=rank,
        world_size=world_size,
    )


def name_of_attempt(ranks: ProcessInfo) -> str:
    """Names the start of the ranks that this is, by a name that all of them have.

    Only on one machine does torchrun count its restarts for all ranks; on several it may warn.
    """
    environment = os.environ
    if environment.get("LOCAL_WORLD_SIZE") == str(ranks.world_size):
        return f"attempt {environment.get('TORCHELASTIC_RESTART_COUNT', '0')}"
    restarts = int(environment.get("TORCHELASTIC_MAX_RESTARTS", "0"))
    if restarts > 0 and environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True" and ranks.is_main:
        _logger.warning(
            "On several machines torchrun may fail to restart; set "
            "TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 in the environment of torchrun."
        )
    return "attempt"


def stop_process_group() -> None:
    """Leaves the process group, if there is one."""
    if dist.is_initialized():
        dist.destroy_process_group()


def all_ranks_have(value: object) -> bool:
    """Returns whether a picklable value is equal on every rank; with one process it is."""
    if not dist.is_initialized():
        return True
    values: list[object] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return all(each == value for each in values)


@torch.no_grad()
def all_reduce_gradients(
    parameters: Iterable[nn.Parameter], num_images: int, extras: Tensor
) -> tuple[int, Tensor]:
    """Averages the gradients that exist over all images of all ranks, in place.

    Args:
        parameters: The same on every rank, with gradients of this rank's summed loss in the same
            ones. (Of the sum, because a synchronised BatchNorm mixes the ranks' gradients.)
        num_images: Images behind this rank's gradients; ranks may differ.
        extras: Shape (k,), float32: values to sum over the ranks in the same communication.

    Returns:
        The number of images over all ranks, and the summed extras.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    counts = torch.tensor([float(num_images)], device=extras.device)
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    flat = torch.cat([flat, extras, counts])
    dist.all_reduce(flat)
    total = flat[-1]
    offset = 0
    for gradient in gradients:
        size = gradient.numel()
        gradient.copy_(flat[offset : offset + size].view(gradient.shape) / total)
        offset += size
    return int(total), flat[offset:-1]


@torch.no_grad()
def average_buffers(module: nn.Module) -> None:
    """Averages the floating-point buffers (BatchNorm statistics) over the ranks, in place."""
    if not dist.is_initialized():
        return
    buffers = [buffer for buffer in module.buffers() if buffer.is_floating_point()]
    if not buffers:
        return
    flat = torch.cat([buffer.flatten() for buffer in buffers])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    _scatter(flat, buffers)


@torch.no_grad()
def average_tensor(tensor: Tensor) -> None:
    """Averages a tensor over the ranks, in place; nothing to do for one process."""
    if dist.is_initialized():
        dist.all_reduce(tensor)
        tensor /= dist.get_world_size()


@torch.no_grad()
def broadcast_weights(module: nn.Module) -> None:
    """Copies rank 0's parameters and buffers to every rank."""
    if dist.is_initialized():
        for tensor in module.state_dict().values():
            dist.broadcast(tensor, src=0)


def _scatter(flat: Tensor, tensors: Sequence[Tensor]) -> None:
    sizes = [tensor.numel() for tensor in tensors]
    for tensor, part in zip(tensors, torch.split(flat, sizes), strict=True):
        tensor.copy_(part.view(tensor.shape))
