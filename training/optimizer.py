"""What moves the weights: AdamW, or for kernels of convolutions Muon."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from training.run_config import OptimConfig

_MOMENTUM = 0.95
_ITERATIONS = 5
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # the quintic of Jordan's page, steepest where singular values are small
_LIKE_ADAMW = 0.2  # root mean square of AdamW's steps, in learning rates (Liu et al.)


class Muon(torch.optim.AdamW):
    """AdamW for groups of parameters whose `muon` is False; for the others momentum whose singular values are all made
    alike (Jordan et al., "Muon: an optimizer for hidden layers in neural networks", kellerjordan.github.io/posts/muon,
    2024): a kernel (out, in, …) is a matrix of out rows.

    A direction in which gradients are always small is then learnt as fast as one in which they are large. Steps are
    scaled to the size of AdamW's (Liu et al., "Muon is scalable for LLM training", arXiv 2502.16982, section 2.2), so
    both share their learning rate and decay of weights. `torch.optim.Muon` does the same for parameters that are
    matrices, and takes no others.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        groups = self.param_groups
        for group in groups:
            for kernel in group["params"] if group["muon"] else ():
                if kernel.grad is not None:
                    self._move(kernel, kernel.grad, group["lr"], group["weight_decay"])
        try:
            self.param_groups = [group for group in groups if not group["muon"]]
            super().step()
        finally:
            self.param_groups = groups
        return loss

    def _move(self, kernel: Tensor, gradient: Tensor, rate: float, decay: float) -> None:
        state = self.state[kernel]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(kernel)
            state["step"] = torch.zeros(())  # AdamW looks for one when it is given a state back
        momentum: Tensor = state["momentum"]
        momentum.lerp_(gradient, 1 - _MOMENTUM)
        ahead = torch.lerp(gradient, momentum, _MOMENTUM).flatten(1)
        kernel.mul_(1 - rate * decay)
        scale = _LIKE_ADAMW * math.sqrt(max(ahead.shape))
        kernel.add_(orthogonal(ahead).view(kernel.shape), alpha=-rate * scale)


def orthogonal(matrix: Tensor) -> Tensor:
    """The matrix with its singular values brought to about 1 (0.7 to 1.2; those below a thousandth of its norm stay
    below), by Newton-Schulz iteration. 0 stays 0."""
    a, b, c = _COEFFICIENTS
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / x.norm().clamp_min(1e-12)
    for _ in range(_ITERATIONS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if tall else x


def build_optimizer(optim: OptimConfig, network: nn.Module) -> torch.optim.Optimizer:
    """Weight decay on kernels alone, not on norms, leaks and thresholds. With `optim.muon` that is for all kernels but
    the last, whose output is a picture and which no norm follows."""
    kernels = [p for p in network.parameters() if p.dim() > 1 and p.numel() > p.shape[1]]
    others = [p for p in network.parameters() if not (p.dim() > 1 and p.numel() > p.shape[1])]
    decayed = {"weight_decay": optim.weight_decay}
    if not optim.muon:
        return torch.optim.AdamW([{"params": kernels, **decayed}, {"params": others, "weight_decay": 0.0}], lr=optim.lr)
    mixing = [p for p in kernels[:-1] if p.shape[1] > 1]  # a kernel a channel mixes none
    alone = [p for p in kernels if not any(p is other for other in mixing)]
    groups = [
        {"params": mixing, "muon": True, **decayed},
        {"params": alone, "muon": False, **decayed},
        {"params": others, "muon": False, "weight_decay": 0.0},
    ]
    return Muon(groups, lr=optim.lr)
