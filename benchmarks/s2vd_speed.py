"""The speed of `derain run` beside that of S2VD's network, on this machine and in one run.

python benchmarks/s2vd_speed.py CLIP [--threads N] [--rounds N]     # CLIP: H.264, any size

S2VD (Yue et al., CVPR 2021) is the video deraining network of issue 3's comparison. Its code is not among our packages
and its weights do not matter for its speed, so its network is built here from what is published of it (the paper, and
`networks/derain_net.py` of github.com/zsyOAOA/S2VD): 3-D convolutions of 32 channels on frames at half size, 8 residual
blocks, three convolutions at full size, 0.525 M parameters and 155.5 kMAC a pixel, which is checked. It runs as its
authors run it: PyTorch, float32, several frames at a time; decoding and encoding are in the time of `derain run` alone.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import av
import torch
from torch import Tensor, nn

PARAMETERS, KMACS = 0.525e6, 155.5
FRAMES = 8
CHANNELS, BLOCKS, COLOURS = 32, 8, 3


def convolution(inner: int, outer: int, bias: bool = True) -> nn.Module:
    """3×3×3; the clip's first and last frame are repeated, pictures are padded with zeros."""
    return nn.Sequential(
        nn.ReplicationPad3d((0, 0, 0, 0, 1, 1)), nn.Conv3d(inner, outer, 3, padding=(0, 1, 1), bias=bias)
    )


class _Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        parts = [[nn.BatchNorm3d(CHANNELS), nn.ReLU(), convolution(CHANNELS, CHANNELS)] for _ in range(2)]
        self.change = nn.Sequential(*parts[0], *parts[1])

    def forward(self, x: Tensor) -> Tensor:
        return x + self.change(x)


class S2vdShape(nn.Module):
    """Clip (1, 3, frames, H, W) to clip, H and W even. Random weights: for timing alone."""

    def __init__(self) -> None:
        super().__init__()
        packed = COLOURS * 4
        self.rain = nn.Sequential(
            convolution(packed, CHANNELS), nn.ReLU(), convolution(CHANNELS, CHANNELS),
            *(_Residual() for _ in range(BLOCKS)),
            nn.BatchNorm3d(CHANNELS), nn.ReLU(), convolution(CHANNELS, packed),
        )  # fmt: skip
        self.refine = nn.Sequential(
            convolution(COLOURS, CHANNELS, bias=False), nn.ReLU(),
            convolution(CHANNELS, CHANNELS, bias=False), nn.ReLU(),
            convolution(CHANNELS, COLOURS, bias=False),
        )  # fmt: skip

    def forward(self, clip: Tensor) -> Tensor:
        frames = clip[0].transpose(0, 1)
        half = nn.functional.pixel_unshuffle(frames, 2).transpose(0, 1)[None]
        rain = nn.functional.pixel_shuffle(self.rain(half)[0].transpose(0, 1), 2).transpose(0, 1)[None]
        return self.refine(clip - rain)


def check(network: S2vdShape) -> None:
    """SystemExit where this is not the network whose cost `shared/peers.md` and the paper tell."""
    parameters = sum(p.numel() for p in network.parameters())
    macs = sum(
        p.numel() * (0.25 if name.startswith("rain") else 1.0) for name, p in network.named_parameters() if p.dim() == 5
    )
    if abs(parameters / PARAMETERS - 1) > 0.01 or abs(macs / 1000 / KMACS - 1) > 0.01:
        raise SystemExit(f"not S2VD's shape: {parameters} parameters, {macs / 1000:.1f} kMAC a pixel")


def s2vd_fps(network: S2vdShape, clip: Tensor) -> float:
    began = time.perf_counter()
    with torch.inference_mode():
        network(clip)
    return clip.shape[2] / (time.perf_counter() - began)


def derain_fps(clip: Path, model: str, threads: int) -> tuple[float, str]:
    """Frames a second of a whole `derain run`, its start included, and the runtime that it took."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-P", "-m", "pipeline", "run", clip, f"{folder}/o.mp4", "--model", model, "--json",
                   "--preset", "veryfast", "--threads", str(threads)]  # fmt: skip
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True)
        told = json.loads(done.stdout.splitlines()[-1])
    return told["frames_out"] / told["seconds"], told["runtime"]


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("clip", type=Path)
    asked.add_argument("--threads", type=int, default=2)
    asked.add_argument("--rounds", type=int, default=2)
    options = asked.parse_args()
    torch.set_num_threads(options.threads)
    with av.open(options.clip) as container:
        width, height = container.streams.video[0].width, container.streams.video[0].height
    network = S2vdShape().eval()
    check(network)
    pictures = torch.rand(1, COLOURS, FRAMES, height, width)
    s2vd_fps(network, pictures[:, :, :2])
    theirs, ours = [], {"stream-nano": [0.0], "stream": [0.0]}
    for _ in range(options.rounds):  # in turn
        theirs.append(s2vd_fps(network, pictures))
        for model, speeds in ours.items():
            fps, runtime = derain_fps(options.clip, model, options.threads)
            speeds.append(fps)
            print(f"{model} on {runtime}: {fps:.2f} fps; S2VD's network alone {theirs[-1]:.3f} fps", flush=True)
    for model, speeds in ours.items():
        print(
            f"{model}: {max(speeds):.2f} fps end to end, {max(speeds) / max(theirs):.1f} times S2VD ({max(theirs):.3f})"
        )


if __name__ == "__main__":
    main()
