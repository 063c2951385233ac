"""The training loop. Reads top to bottom as the recipe does.

Warm-up and cosine decay, clipped gradients, an average of the weights; which optimizer, in `optimizer`. What a kind of
network adds (its data, its loss, what it carries between steps) is in `stream_task` and `picture_task`. A run with a
checkpoint in its folder goes on from it and takes the same steps that it would have taken, alone or as several
processes (`distributed`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

import esdnet.checkpoint
from esdnet.firing import FiringRate, firing_rates
from esdnet.integer_weights import round_weights
from esdnet.network import ESDNet
from esdnet.streaming import StreamNet
from training.checkpoints import WEIGHTS, WeightAverage, load_checkpoint, save_checkpoint
from training.distributed import Ranks, averaged_only, join
from training.errors import TrainingError
from training.loader import next_batch
from training.networks import build_network
from training.optimizer import build_optimizer
from training.packed_clips import DataError
from training.picture_task import PictureTask
from training.precision import gradient_scaler, lower_convolutions
from training.run_config import RunConfig
from training.stopping import heeding
from training.stream_task import StreamTask
from training.task import Task
from training.teacher import without
from training.training_log import TrainingLog

_LOOK_EVERY = 25  # pictures and histograms are written every so many log lines


def learning_rate(step: int, run: RunConfig, steps: int, warmup: int) -> float:
    """Linear warm-up over `warmup` steps, then a cosine down to `min_lr` at the last of `steps`."""
    optim = run.optim
    if step < warmup:
        return optim.lr * (step + 1) / warmup
    share = (step - warmup) / max(1, steps - warmup)
    return optim.min_lr + (optim.lr - optim.min_lr) * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))


def build_task(run: RunConfig, network: StreamNet | ESDNet, ranks: Ranks) -> Task:
    """Data and loss for that kind of network. DataError for a teacher where nothing can be taught."""
    if isinstance(network, StreamNet):
        return StreamTask(run, network, ranks)
    if run.teacher:
        raise DataError("teacher: is for networks for video, not for kind esdnet")
    return PictureTask(run, network, ranks)


def train(run: RunConfig, *, report: Callable[[str], None] = print, stop_after: float | None = None) -> float:
    """Trains until the last step (or for `stop_after` seconds) and returns the last loss. Leaves last.pt and the
    averaged weights as safetensors in the run's folder. TrainingError for data or settings that cannot be used;
    KeyboardInterrupt where it was asked to stop (`training.stopping`), with both files written.

    Under `torchrun` every process calls it; the first one reports and writes.
    """
    torch.set_num_threads(run.threads)
    with join(run.device) as ranks, _told_in_a_line(run):
        return _train(run, ranks, report if ranks.first else lambda _line: None, stop_after)


@contextmanager
def _told_in_a_line(run: RunConfig) -> Iterator[None]:
    """TrainingError for what the machine has too little of, or will not let be written."""
    try:
        yield
    except OSError as error:
        raise TrainingError(
            f"{error.filename or run.path}: {error.strerror or error}; is there space, and may it be written? "
            "folder names where runs go"
        ) from error
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError | torch.OutOfMemoryError) and "allocate memory" not in str(error):
            raise
        raise TrainingError(f"{run.name}: out of memory; lower data.batch, data.crop or data.window") from error


def _train(run: RunConfig, ranks: Ranks, report: Callable[[str], None], stop_after: float | None) -> float:
    network = build_network(run, ranks.device).train()
    lower_convolutions(network, run.precision, ranks.device)
    scaler = gradient_scaler(run.precision, ranks.device)
    task = build_task(run, network, ranks)
    module = ranks.wrap(task.module)
    average = WeightAverage(network, run.optim.ema)
    optimizer = build_optimizer(run.optim, network)
    step, smooth = 0, dict[str, float]()
    if (saved := load_checkpoint(run.path)) is not None:
        step, smooth = _resume(run, ranks, saved, task, average, optimizer, scaler), saved.get("smooth", {})
        report(f"{run.name}: goes on at step {step} of {task.steps}")

    batches = task.batches(step)
    for line in task.found:
        report(line)
    began, waited, loss_value = time.monotonic(), 0.0, float("nan")
    with heeding() as asked, closing(batches), _logging(run, ranks, step) as log:
        while step < task.steps:
            rate = learning_rate(step, run, task.steps, task.warmup)
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.zero_grad(set_to_none=True)
            parts: dict[str, float] = {}
            shown = log is not None and (step + 1) % (run.log_every * 5) == 0
            counting: AbstractContextManager[dict[str, FiringRate]] = (
                firing_rates(network) if shown else nullcontext({})
            )
            with counting as rates:
                for part in range(run.optim.accumulate):
                    before = time.monotonic()
                    batch = next_batch(batches)
                    waited += time.monotonic() - before
                    with averaged_only(module, last=part == run.optim.accumulate - 1):
                        outcome = task.run(module, batch, step, part)
                        if not math.isfinite(loss := float(outcome.loss.detach())):  # its gradient may end in a crash
                            raise DataError(f"{run.name}: the loss is {loss} at step {step}; lower optim.lr")
                        scaler.scale(outcome.loss / run.optim.accumulate).backward()
                    found = outcome.parts | {"loss": loss, "psnr_y": outcome.psnr_y}
                    parts = {k: parts.get(k, 0.0) + value / run.optim.accumulate for k, value in found.items()}
            loss_value = parts["loss"]
            scaler.unscale_(optimizer)
            limit = run.optim.clip_norm or math.inf
            parts["gradient"] = float(nn.utils.clip_grad_norm_(network.parameters(), limit))
            scaler.step(optimizer)
            scaler.update()
            average.update(network)
            step += 1
            smooth = {name: value + 0.98 * (smooth.get(name, value) - value) for name, value in parts.items()}
            elapsed = time.monotonic() - began
            if log is not None and step % run.log_every == 0:
                log.scalars(step, parts | {"lr": rate, "loader_share": waited / elapsed})
            if log is not None and shown:
                report(
                    f"{run.name} step {step} loss {smooth['loss']:.4f} PSNR-Y {smooth['psnr_y']:.2f} lr {rate:.2e} "
                    f"grad {parts['gradient']:.2f} {elapsed:.0f} s, {waited / elapsed:.0%} waiting for data"
                )
                for line in log.firing(step, rates):
                    report(line)
            if log is not None and step % (run.log_every * _LOOK_EVERY) == 0:
                log.pictures(step, *task.look(outcome.pictures))
                log.membranes(step, without(task.carried()[0]))
                log.neurons(step, network)
            if step % run.checkpoint_every == 0:
                _save(run, ranks, task, average, optimizer, scaler, step, smooth)
            if ranks.agree(asked() or (stop_after is not None and elapsed > stop_after)):
                break
        _save(run, ranks, task, average, optimizer, scaler, step, smooth)
    if asked() and step < task.steps:
        raise KeyboardInterrupt(f"{run.name} is at step {step} of {task.steps}; the same command goes on from there")
    return loss_value


def _logging(run: RunConfig, ranks: Ranks, step: int) -> AbstractContextManager[TrainingLog | None]:
    """The first process's log. Opened once the data are there: a run that cannot begin leaves nothing behind."""
    return closing(TrainingLog(run.path / "tensorboard", step)) if ranks.first else nullcontext()


def _save(run: RunConfig, ranks: Ranks, task: Task, average: WeightAverage, optimizer: torch.optim.Optimizer,
          scaler: Any, step: int, smooth: dict[str, float]) -> None:  # fmt: skip
    """Checkpoint and averaged weights, by the first process; what each of them carries, one after the other.

    Those that are kept for use have spiking convolutions of integers (`esdnet/integer_weights.py`); the checkpoint's
    have not, so a run goes on from what it had.
    """
    carried = [{name: ranks.gather(tensor) for name, tensor in one.items()} for one in task.carried()]
    if ranks.first:
        names = list(carried[0])
        config: Any = task.network.config
        content: dict[str, Any] = {
            "network": asdict(config),
            "weights": task.network.state_dict(),
            "average": average.state_dict(),
            "optimizer": optimizer.state_dict(),
            "scaler": scaler.state_dict(),
            "state": {name: torch.cat([one[name] for one in carried]) for name in names},
            "batch": _whole_batch(run, ranks),
            "step": step,
            "smooth": smooth,
        }
        save_checkpoint(run.path, content)
        averaged: nn.Module = type(task.network)(config)
        averaged.load_state_dict(average.shadow)
        round_weights(averaged)
        esdnet.checkpoint.save(averaged, run.path / WEIGHTS, {"run": run.name, "step": str(step)})
    ranks.wait()


def _resume(run: RunConfig, ranks: Ranks, saved: dict[str, Any], task: Task, average: WeightAverage,
            optimizer: torch.optim.Optimizer, scaler: Any) -> int:  # fmt: skip
    """Takes up a checkpoint and returns its step. DataError where it is of another network or another batch."""
    config: Any = task.network.config
    try:  # a checkpoint of an earlier version lacks the settings that were added since, which then had their defaults
        same = type(config)(**saved["network"]) == config
    except TypeError:
        same = False
    if not same:
        raise DataError(f"{run.path}: holds a run of another network; choose another name or delete the folder")
    if (batch := saved.get("batch", run.data.batch)) != _whole_batch(run, ranks):
        raise DataError(
            f"{run.path}: was begun with batches of {batch}, now {_whole_batch(run, ranks)} (data.batch × "
            "optim.accumulate × processes): its streams would not go on; choose another name or the same numbers"
        )
    if len(saved["optimizer"]["param_groups"]) != len(optimizer.param_groups):
        raise DataError(
            f"{run.path}: was begun {'without' if run.optim.muon else 'with'} optim.muon; choose another name, "
            "with init: that folder's average.safetensors, or the same optimizer"
        )
    task.network.load_state_dict(saved["weights"])
    average.load_state_dict(saved["average"])
    optimizer.load_state_dict(saved["optimizer"])
    if saved.get("scaler"):
        scaler.load_state_dict(saved["scaler"])
    size, world = run.data.batch, ranks.world
    firsts = [(part * world + ranks.rank) * size for part in range(run.optim.accumulate)]
    state: dict[str, Tensor] = saved["state"]
    task.carry_on([{name: tensor[first : first + size] for name, tensor in state.items()} for first in firsts])
    return int(saved["step"])


def _whole_batch(run: RunConfig, ranks: Ranks) -> int:
    return run.data.batch * run.optim.accumulate * ranks.world
