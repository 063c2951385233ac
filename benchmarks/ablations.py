"""What each choice in the network, its neurons, its training and its data is worth: one changed at a time.

    python benchmarks/ablations.py PAIRS [--run configs/ablation.yaml] [--arms all] [--steps N] [--out FILE]

Every arm trains the run of the YAML from nothing with one thing changed, on the same windows wherever the change is not
in the data, and is measured on the first frames of the clips `NAME.rainy.mp4` / `NAME.clean.mp4` in PAIRS: mean gain on
Y with membranes carried, with a reset before every frame, what carrying gains on the clip where it gains least,
flicker, multiplications and energy against the non-spiking twin. A row is added to FILE (JSON lines) when an arm is
done and arms that are in it are not run again, so a run that was stopped goes on; the table is printed from it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from ablation_arms import ARMS, Arm, spikes_with
from torch import Tensor

from esdnet import integer_lif
from esdnet.complexity import complexity
from esdnet.energy import energy_meter
from esdnet.integer_lif import IntegerLIF
from esdnet.streaming import StreamNet
from training.checkpoints import WeightAverage
from training.clips import ClipReader
from training.distributed import Ranks
from training.errors import TrainingError
from training.metrics import psnr
from training.networks import build_network
from training.optimizer import build_optimizer
from training.phases import phases
from training.precision import lower_convolutions
from training.run_config import RunConfig, read_run
from training.stream_task import StreamTask
from training.train import learning_rate
from training.unrolled import run_window
from training.windows import Window, WindowStream

FRAMES = 8  # of each clip
LUMA_CODES = 219  # of the normalised scale


def changed(run: RunConfig, fields: Mapping[str, Any]) -> RunConfig:
    whole = run.model_dump()
    for place, value in fields.items():
        *sections, name = place.split(".")
        section = whole
        for part in sections:
            section = section[part]
        section[name] = value
    return RunConfig.model_validate(whole)


class Recorder:
    """The windows of a run's data, kept until another run's are asked for: arms on the same data share them."""

    def __init__(self) -> None:
        self._of, self._windows = "", list[Window]()

    def windows(self, run: RunConfig) -> list[Window]:
        of = f"{run.seed} {run.data.model_dump_json(exclude={'forget'})}"
        if of != self._of or len(self._windows) < run.optim.steps:
            stream = iter(WindowStream(run.data, run.seed))
            self._windows = [next(stream) for _ in range(run.optim.steps)]
            self._of = of
        return self._windows


def trained(run: RunConfig, arm: Arm, windows: list[Window]) -> StreamNet:
    """The averaged weights after the run's steps, as a network to be evaluated."""
    network = build_network(run).train()
    assert isinstance(network, StreamNet)
    if arm.prepare:
        arm.prepare(network)
    ranks = Ranks(0, 1, torch.device("cpu"))
    lower_convolutions(network, run.precision, ranks.device)
    task, average = StreamTask(run, network, ranks), WeightAverage(network, run.optim.ema)
    optimizer = build_optimizer(run.optim, network)
    for step in range(run.optim.steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, run, run.optim.steps, run.optim.warmup)
        optimizer.zero_grad(set_to_none=True)
        with spikes_of(network) as spikes:
            loss = task.run(task.module, windows[step], step, 0).loss
        (loss + arm.firing * torch.stack(spikes).mean()).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), run.optim.clip_norm or float("inf"))
        optimizer.step()
        average.update(network)
    averaged = StreamNet(network.config)
    if arm.prepare:
        arm.prepare(averaged)
    averaged.load_state_dict(average.shadow)
    return averaged.eval()


@contextmanager
def spikes_of(network: StreamNet) -> Iterator[list[Tensor]]:
    """Mean spikes a neuron of every layer and frame that runs meanwhile, with a gradient."""
    found: list[Tensor] = []
    layers = [module for module in network.modules() if isinstance(module, IntegerLIF)]
    hooks = [layer.register_forward_hook(lambda _m, _in, out: found.append(out[0].mean())) for layer in layers]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def whole_clip(pairs: Path, name: str) -> Window:
    """The first frames of a pair of clips as one window of one stream. ValueError for clips that will not do."""
    sides = []
    for side in ("rainy", "clean"):
        with ClipReader(str(pairs / f"{name}.{side}.mp4")) as reader:
            frames = [frame.planes for frame, _ in zip(reader, range(FRAMES), strict=False)]
        height, width = frames[0][0].shape if frames else (0, 0)
        if len(frames) < FRAMES or height % 8 or width % 8:
            raise ValueError(f"{name}.{side}.mp4 in {pairs}: {FRAMES} frames with sides of multiples of 8 are needed")
        sides.append(np.stack([np.concatenate([phases(y), u[None], v[None]]) for y, u, v in frames])[:, None])
    return Window(torch.from_numpy(sides[0]), torch.from_numpy(sides[1]), torch.tensor([True]))


@torch.no_grad()
def measured(network: StreamNet, clips: list[Window]) -> dict[str, float]:
    carried, alone, flicker, energy, twin = [], [], [], 0.0, 0.0
    for window in clips:
        height, width = window.rainy.shape[-2:]
        begin = network.initial_state(1, height, width)
        with energy_meter(network) as meter:
            derained, clean, rainy, _ = run_window(network, window, begin, "cpu")
        energy, twin = energy + meter.energy_pj, twin + meter.twin_pj
        every = torch.ones(FRAMES, 1, dtype=torch.bool)
        reset = run_window(network, window, begin, "cpu", every)[0]
        before = _psnr(rainy, clean)
        carried.append(_psnr(derained, clean) - before)
        alone.append(_psnr(reset, clean) - before)
        error = (derained.clamp(0, 1) - clean)[:, :, :4] * LUMA_CODES
        flicker.append(float((error[1:] - error[:-1]).abs().mean()))
    pays = [a - b for a, b in zip(carried, alone, strict=True)]
    return {"carried": float(np.mean(carried)), "reset": float(np.mean(alone)), "least": min(pays),
            "flicker": float(np.mean(flicker)), "energy": energy / twin}  # fmt: skip


def _psnr(shown: Tensor, clean: Tensor) -> float:
    """Mean over frames of the PSNR of 8-bit luma, dB."""
    sides = ((side[:, :, :4] * LUMA_CODES).numpy() for side in (shown.clamp(0, 1), clean))
    return float(np.mean([psnr(frame, truth) for frame, truth in zip(*sides, strict=True)]))


def run_arm(name: str, run: RunConfig, recorder: Recorder, clips: list[Window]) -> dict[str, Any]:
    arm = ARMS[name]
    other: AbstractContextManager[Any] = nullcontext()
    if arm.derivative:
        spike = spikes_with(arm.derivative)
        other = patch.object(integer_lif, "integer_spikes", lambda drive, levels: spike(drive, levels))
    windows = recorder.windows(run)
    began = time.monotonic()
    with other:
        network = trained(run, arm, windows)
    seconds = time.monotonic() - began
    cost = complexity(network).kmacs_per_pixel
    return {"arm": name, "steps": run.optim.steps, "seconds": round(seconds), "kmac": cost} | measured(network, clips)


def table(rows: list[dict[str, Any]]) -> str:
    lines = ["| arm | | gain (reset) | carrying pays at least | flicker | kMAC | energy / twin |", "|---" * 7 + "|"]
    for row in rows:
        lines.append(
            f"| {row['arm']} | {ARMS[row['arm']].about} | {row['carried']:+.2f} ({row['reset']:+.2f}) | "
            f"{row['least']:+.2f} | {row['flicker']:.2f} | {row['kmac']:.2f} | {row['energy']:.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("pairs", type=Path)
    asked.add_argument("--run", type=Path, default=Path("configs/ablation.yaml"))
    asked.add_argument("--arms", default="all", help=f"separated by commas, of {', '.join(ARMS)}")
    asked.add_argument("--steps", type=int)
    asked.add_argument("--out", type=Path, default=Path("ablations.jsonl"))
    options = asked.parse_args()
    names = list(ARMS) if options.arms == "all" else options.arms.split(",")
    if unknown := [name for name in names if name not in ARMS]:
        asked.error(f"--arms: no {unknown[0]}; there are {', '.join(ARMS)}")
    found = sorted(path.name.removesuffix(".rainy.mp4") for path in options.pairs.glob("*.rainy.mp4"))
    if not found:
        asked.error(f"{options.pairs}: holds no NAME.rainy.mp4")
    torch.set_num_threads(1)
    try:
        run = read_run(options.run)
        clips = [whole_clip(options.pairs, name) for name in found]
    except (TrainingError, ValueError) as error:
        asked.error(str(error))
    if options.steps:
        run = changed(run, {"optim.steps": options.steps})
    rows = [json.loads(line) for line in options.out.read_text().splitlines()] if options.out.exists() else []
    if others := {row["steps"] for row in rows} - {run.optim.steps}:
        asked.error(f"{options.out}: holds arms of {others.pop()} steps, not {run.optim.steps}; name another --out")
    recorder, done = Recorder(), {row["arm"] for row in rows}
    for name in names:
        if name in done:
            continue
        row = run_arm(name, changed(run, ARMS[name].fields), recorder, clips)
        print(name, row, file=sys.stderr, flush=True)
        with options.out.open("a") as file:
            file.write(json.dumps(row) + "\n")
        rows.append(row)
    order = list(ARMS)
    print(table(sorted(rows, key=lambda row: order.index(row["arm"]))))


if __name__ == "__main__":
    main()
