"""The training loop of the streaming networks. Reads top to bottom as the recipe does.

Back-propagation through time over windows of frames with surrogate gradients; the membranes a window ends with are
carried, detached, into the next. AdamW with warm-up and cosine decay, clipped gradients, an average of the weights.
A run with a checkpoint in its folder goes on from it and takes the same steps that it would have taken.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torch.utils.tensorboard import SummaryWriter

import esdnet.checkpoint
import esdnet.models
from esdnet.planes import LIMITED, code_scale
from esdnet.state import MembraneState
from esdnet.streaming import StreamConfig, StreamNet
from training.checkpoints import WeightAverage, load_checkpoint, save_checkpoint
from training.losses import deraining_loss
from training.packed_clips import DataError
from training.run_config import RunConfig
from training.windows import Window, WindowStream

WEIGHTS = "average.safetensors"


def learning_rate(step: int, run: RunConfig) -> float:
    """Linear warm-up over `warmup` steps, then a cosine down to `min_lr` at the last."""
    optim = run.optim
    if step < optim.warmup:
        return optim.lr * (step + 1) / optim.warmup
    share = (step - optim.warmup) / max(1, optim.steps - optim.warmup)
    return optim.min_lr + (optim.lr - optim.min_lr) * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))


def build_network(run: RunConfig) -> StreamNet:
    """The network a run begins with: random, or the weights of `init`."""
    torch.manual_seed(run.seed)
    try:
        network = StreamNet(StreamConfig(**run.network))
    except (TypeError, ValueError) as error:
        raise DataError(f"network: {error}") from error
    if run.init:
        _begin_from(network, esdnet.models.load(run.init), run.init)
    return network.to(run.device, memory_format=torch.channels_last)  # type: ignore[call-overload]


@torch.no_grad()
def _begin_from(network: StreamNet, start: nn.Module, name: str) -> None:
    """Take over the weights of `start`; a layer that has grown in width takes them into its first channels."""
    mine = network.state_dict()
    for key, theirs in start.state_dict().items():
        if key not in mine or any(a > b for a, b in zip(theirs.shape, mine[key].shape, strict=True)):
            raise DataError(f"init: {key} of {name} does not fit the network of this run")
        mine[key][tuple(slice(size) for size in theirs.shape)] = theirs


def run_window(
    network: StreamNet, window: Window, state: MembraneState, device: str, forget: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor, MembraneState]:
    """Derained, clean and rainy (T, N, 6, h, w), normalised, and the state after the window.

    `forget` (T, N), boolean, resets a stream before a frame. Without it the network leans on the past alone, which is
    the easier cue, and learns nothing of what a streak looks like.
    """
    scale, offset = code_scale(LIMITED, torch.empty(0, device=device))
    rainy, clean = ((x.to(device).float() - offset) / scale for x in (window.rainy, window.clean))
    state = state.reset(window.fresh.to(device))
    derained = []
    for index, frame in enumerate(rainy):
        if forget is not None:
            state = state.reset(forget[index].to(device))
        picture, state = network.step(frame.contiguous(memory_format=torch.channels_last), state)
        derained.append(picture)
    return torch.stack(derained), clean, rainy, state


def train(run: RunConfig, *, report: Callable[[str], None] = print, stop_after: float | None = None) -> float:
    """Trains until `optim.steps` (or `stop_after` seconds) and returns the last loss. Leaves last.pt and the averaged
    weights as safetensors in the run's folder. DataError for data or settings that cannot be used."""
    torch.set_num_threads(run.threads)
    network = build_network(run).train()
    average = WeightAverage(network, run.optim.ema)
    decayed = [p for p in network.parameters() if p.dim() > 1 and p.numel() > p.shape[1]]
    others = [p for p in network.parameters() if not (p.dim() > 1 and p.numel() > p.shape[1])]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": run.optim.weight_decay}, {"params": others, "weight_decay": 0.0}],
        lr=run.optim.lr,
    )
    half = run.data.crop // 2
    state = network.initial_state(run.data.batch, half, half)
    step = 0
    if (saved := load_checkpoint(run.path)) is not None:
        if saved["network"] != asdict(network.config):
            raise DataError(f"{run.path}: holds a run of another network; choose another name or delete the folder")
        network.load_state_dict(saved["weights"])
        average.load_state_dict(saved["average"])
        optimizer.load_state_dict(saved["optimizer"])
        state = MembraneState({name: t.to(run.device) for name, t in saved["state"].items()})
        step = saved["step"]
        report(f"{run.name}: goes on at step {step} of {run.optim.steps}")

    def checkpoint() -> None:
        content: dict[str, Any] = {
            "network": asdict(network.config),
            "weights": network.state_dict(),
            "average": average.state_dict(),
        }
        content |= {"optimizer": optimizer.state_dict(), "state": {name: state[name] for name in state}, "step": step}
        save_checkpoint(run.path, content)
        averaged = StreamNet(network.config)
        averaged.load_state_dict(average.shadow)
        esdnet.checkpoint.save(averaged, run.path / WEIGHTS, {"run": run.name, "step": str(step)})

    writer = SummaryWriter(str(run.path / "tensorboard"), purge_step=step)
    loader = DataLoader(WindowStream(run.data, run.seed, step), batch_size=None, num_workers=1, prefetch_factor=4)
    windows: Iterator[Window] = iter(loader)
    began, waited, loss_value = time.monotonic(), 0.0, float("nan")
    smooth: dict[str, float] = {}
    try:
        while step < run.optim.steps:
            before = time.monotonic()
            window = next(windows)
            waited += time.monotonic() - before
            rate = learning_rate(step, run)
            for group in optimizer.param_groups:
                group["lr"] = rate
            dice = torch.Generator().manual_seed(
                run.seed * 1_000_003 + step
            )  # of the step alone: a resume rolls the same
            forget = torch.rand(window.rainy.shape[:2], generator=dice) < run.data.forget
            derained, clean, rainy, state = run_window(network, window, state, run.device, forget)
            loss, parts = deraining_loss(derained, clean, rainy, run.loss)
            loss_value = float(loss.detach())
            if not math.isfinite(loss_value):
                raise DataError(f"{run.name}: the loss is {loss_value} at step {step}; lower optim.lr")
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            norm = float(nn.utils.clip_grad_norm_(network.parameters(), run.optim.clip_norm))
            optimizer.step()
            average.update(network)
            state = state.detach()
            step += 1
            parts |= {"loss": loss_value, "psnr_y": _psnr(derained, clean), "gradient": norm}
            smooth = {name: value + 0.98 * (smooth.get(name, value) - value) for name, value in parts.items()}
            if step % run.log_every == 0:
                seconds = time.monotonic() - began
                for name, value in {**parts, "lr": rate, "loader_share": waited / seconds}.items():
                    writer.add_scalar(name, value, step)
            if step % (run.log_every * 5) == 0:
                elapsed = time.monotonic() - began
                report(
                    f"{run.name} step {step} loss {smooth['loss']:.4f} PSNR-Y {smooth['psnr_y']:.2f} "
                    f"lr {rate:.2e} grad {norm:.2f} {elapsed:.0f} s, {waited / elapsed:.0%} waiting for data"
                )
            if step % run.checkpoint_every == 0:
                checkpoint()
            if stop_after is not None and time.monotonic() - began > stop_after:
                break
    finally:
        writer.close()
    checkpoint()
    return loss_value


@torch.no_grad()
def _psnr(derained: Tensor, clean: Tensor) -> float:
    """Mean over frames of the PSNR of luma, dB, on the normalised scale (219 steps)."""
    error = ((derained.clamp(0, 1) - clean)[:, :, :4] ** 2).flatten(2).mean(2)
    return float((-10 * torch.log10(error.clamp_min(1e-7))).mean())
