"""A rainy clip made from a free picture, derained, and measured: what `make demo` runs.

    python examples/demo.py FOLDER

The picture is the Falcon 9 on its pad that scikit-image ships (`skimage.data.rocket`; by SpaceX, in the public domain).
A camera moves over it slowly; `derain rain` renders rain onto the clip. Since the dry clip is known, PSNR can be told.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
from numpy.typing import NDArray

from training.clip_writer import ClipWriter
from training.clips import ClipInfo, ClipReader
from training.metrics import luma, psnr

WIDTH, HEIGHT, RATE = 640, 360, 25
RAIN = ["--intensity", "0.5", "--length", "28", "--width", "1.1", "--opacity", "0.28", "--angle", "10", "--seed", "4"]


def demo(
    folder: Annotated[Path, typer.Argument(help="Where the videos go; made if it is not there.")] = Path("demo"),
    frames: Annotated[int, typer.Option(min=2, help="Length of the clip, 25 a second.")] = 90,
    model: Annotated[str, typer.Option(help="As for derain run.")] = "stream",
) -> None:
    """Make a rainy clip, derain it, put both side by side, and tell the PSNR before and after."""
    folder.mkdir(parents=True, exist_ok=True)
    clean, rainy, derained, both = (folder / f"{name}.mp4" for name in ("clean", "rainy", "derained", "before_after"))
    print(f"making {clean}: {frames} frames of a camera moving over a picture", flush=True)
    write_clean(clean, frames)
    derain("rain", clean, rainy, *RAIN, "--overwrite")
    derain("run", rainy, derained, "--model", model, "--overwrite")
    derain("compare", rainy, derained, both, "--labels", "rainy,derained", "--overwrite")
    before, after = mean_psnr(rainy, clean), mean_psnr(derained, clean)
    print(f"\nPSNR on luma: rainy {before:.2f} dB, derained {after:.2f} dB ({after - before:+.2f} dB)")
    print(f"Look at {both}: rainy on the left, derained on the right. All videos are in {folder}/.")


def camera(picture: NDArray[np.uint8], frames: int) -> Iterator[NDArray[np.uint8]]:
    """Views (360, 640, 3) of a picture, slowly nearer and to the right, by fractions of a pixel."""
    height, width = picture.shape[:2]
    for index in range(frames):
        way = index / 90  # the same speed however long the clip is
        seen = width * (1 - 0.12 * min(way, 2.0))
        scale = seen / WIDTH
        left = (width - seen) * (0.5 + 0.3 * np.sin(way))
        top = (height - HEIGHT * scale) * (0.9 - 0.3 * np.cos(way))
        view = np.array([[scale, 0, left], [0, scale, top]], np.float64)
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        yield np.asarray(cv2.warpAffine(picture, view, (WIDTH, HEIGHT), flags=flags, borderMode=cv2.BORDER_REFLECT))


def write_clean(path: Path, frames: int) -> None:
    """The dry clip: H.264, BT.601 in limited range."""
    import av
    from skimage import data

    info = ClipInfo(WIDTH, HEIGHT, Fraction(1, RATE), Fraction(RATE), full_range=False, color_range=1, colorspace=6)
    with ClipWriter(path, info) as writer:
        for index, rgb in enumerate(camera(data.rocket(), frames)):
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(
                format="yuv420p", dst_colorspace="ITU601", dst_color_range="MPEG"
            )
            y, u, v = np.split(frame.to_ndarray().reshape(-1), [WIDTH * HEIGHT, WIDTH * HEIGHT * 5 // 4])
            chroma = (HEIGHT // 2, WIDTH // 2)
            writer.write((y.reshape(HEIGHT, WIDTH), u.reshape(chroma), v.reshape(chroma)), index, 1)


def derain(*args: str | Path) -> None:
    """Run the command line as a user would, and stop where it fails."""
    words = [str(arg) for arg in args]
    print(f"\n$ derain {' '.join(words)}", flush=True)
    code = subprocess.run([sys.executable, "-m", "pipeline", *words]).returncode
    if code:
        raise typer.Exit(code)


def mean_psnr(video: Path, truth: Path) -> float:
    """PSNR on luma in dB, the mean over the frames of two clips of equal length."""
    with ClipReader(video) as reader, ClipReader(truth) as dry:
        values = [psnr(luma(a.rgb()), luma(b.rgb())) for a, b in zip(reader, dry, strict=True)]
    return float(np.mean(values))


if __name__ == "__main__":
    typer.run(demo)
