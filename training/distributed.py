"""The processes that train one network together, as `torchrun` starts them; one process that trains alone is the rest.

    torchrun --nproc-per-node 2 -m pipeline train configs/stream.yaml

Every process sees its own share of each batch; DistributedDataParallel averages their gradients (NCCL between GPUs,
Gloo between CPUs). `data.batch` is per process.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import torch
import torch.distributed
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from training.errors import TrainingError


@dataclass(frozen=True)
class Ranks:
    """This process's place among `world` of them, and the device that it trains on."""

    rank: int
    world: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this is the one that writes files and reports."""
        return self.rank == 0

    def wrap(self, module: nn.Module) -> nn.Module:
        """`module` with gradients averaged over all processes; itself where there is one."""
        if self.world == 1:
            return module
        return DistributedDataParallel(module, device_ids=[self.device] if self.device.type == "cuda" else None)

    def gather(self, tensor: Tensor) -> Tensor:
        """The tensors of all processes, of one shape, one after the other along the first dimension, on the CPU."""
        if self.world == 1:
            return tensor.detach().cpu()
        parts = [torch.empty_like(tensor) for _ in range(self.world)]
        torch.distributed.all_gather(parts, tensor.detach().contiguous())
        return torch.cat(parts).cpu()

    def agree(self, wanted: bool) -> bool:
        """Whether any process wants it, so that all of them stop at the same step."""
        if self.world == 1:
            return wanted
        flag = torch.tensor([int(wanted)], device=self.device)
        torch.distributed.all_reduce(flag, torch.distributed.ReduceOp.MAX)
        return bool(flag.item())

    def wait(self) -> None:
        """Return when all processes have come here."""
        if self.world > 1:
            torch.distributed.barrier()


def speaks_for_all() -> bool:
    """Whether this process is the first of those that `torchrun` started, or the only one."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def join(device: str) -> Iterator[Ranks]:
    """Takes this process's place among those that `torchrun` started. TrainingError for a device that is not there."""
    rank, world, local = (int(os.environ.get(name, default)) for name, default in
                          (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0")))  # fmt: skip
    here = _device(device, local if world > 1 else None)
    if here.type == "cuda":
        torch.cuda.set_device(here)
    if world == 1:
        yield Ranks(0, 1, here)
        return
    torch.distributed.init_process_group("nccl" if here.type == "cuda" else "gloo")
    try:
        yield Ranks(rank, world, here)
    finally:
        torch.distributed.destroy_process_group()


def averaged_only(module: nn.Module, last: bool) -> AbstractContextManager[None]:
    """Around a batch of an accumulated step: gradients are exchanged with the `last` one alone."""
    if last or not isinstance(module, DistributedDataParallel):
        return nullcontext()
    return module.no_sync()


def _device(name: str, local: int | None) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise TrainingError(f"device: {name!r} is none: take cpu or cuda") from error
    if device.type == "cpu":
        return device
    if device.type != "cuda":
        raise TrainingError(f"device: {name!r} is not supported: take cpu or cuda")
    cards = torch.cuda.device_count() if torch.cuda.is_available() else 0
    index = local if local is not None else (device.index or 0)
    if index >= cards:
        raise TrainingError(f"device: {name} asked for, card {index} of {cards}; set device: cpu, or see derain doctor")
    return torch.device("cuda", index)
