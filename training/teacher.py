"""A teacher: trained weights whose pictures are part of what a smaller network is to learn.

What rain has hidden cannot be known, and the clean frame asks for it all the same; a larger network's picture asks for
what can be found (knowledge distillation, Hinton et al., arXiv 1503.02531; of pictures instead of class scores). The
target is a mean of both, so every part of the loss takes it as it takes the clean frame.
"""

from __future__ import annotations

import torch
from torch import Tensor

from esdnet.state import MembraneState
from esdnet.streaming import StreamNet
from training.checkpoints import load_weights
from training.distributed import Ranks
from training.packed_clips import DataError
from training.precision import lower_convolutions
from training.run_config import RunConfig, TeacherConfig
from training.unrolled import run_window
from training.windows import Window

_PREFIX = "teacher."
_NOTHING = torch.empty(0)


class Teacher:
    """A network for video that is not trained, its membranes carried beside those of the one that is.

    ModelError or DataError for weights that cannot teach.
    """

    def __init__(self, config: TeacherConfig, run: RunConfig, ranks: Ranks) -> None:
        network = load_weights(config.model)
        if not isinstance(network, StreamNet):
            raise DataError(f"teacher.model: {config.model} is a network for single pictures; take one for video")
        network = network.requires_grad_(False).to(ranks.device)
        self._network: StreamNet = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        lower_convolutions(self._network, run.precision, ranks.device)
        self._share, self._device = config.share, ranks.device
        half = run.data.crop // 2
        self._states = [network.initial_state(run.data.batch, half, half) for _ in range(run.optim.accumulate)]

    @torch.no_grad()
    def target(self, window: Window, clean: Tensor, forget: Tensor, part: int) -> Tensor:
        """What is to be learnt from a window, (T, N, 6, h, w) as `clean`. `forget` as in `run_window`."""
        taught, _, _, self._states[part] = run_window(self._network, window, self._states[part], self._device, forget)
        return torch.lerp(clean, taught, self._share)

    def carried(self) -> list[dict[str, Tensor]]:
        """As `training.task.Task.carried`, under names that are nobody else's."""
        return [{f"{_PREFIX}{name}": state[name] for name in state} for state in self._states]

    def carry_on(self, carried: list[dict[str, Tensor]]) -> None:
        """Take up what `carried` gave, among whatever else. DataError where it is not there."""
        for one, state in zip(carried, self._states, strict=True):
            if any(one.get(f"{_PREFIX}{name}", _NOTHING).shape != state[name].shape for name in state):
                raise DataError("teacher: the checkpoint is of a run without this teacher; give the run another name")
        self._states = [
            MembraneState({name: one[f"{_PREFIX}{name}"].to(self._device) for name in state})
            for one, state in zip(carried, self._states, strict=True)
        ]


def without(carried: dict[str, Tensor]) -> dict[str, Tensor]:
    """What is carried for the network that is trained."""
    return {name: tensor for name, tensor in carried.items() if not name.startswith(_PREFIX)}
