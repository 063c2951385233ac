"""`derain rain` as a user meets it: a process, a file in, a file out."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from training.clip_writer import ClipWriter
from training.clips import ClipInfo, ClipReader
from training.rain_settings import RainSettings

KNOBS = [
    "intensity",
    "length",
    "width",
    "opacity",
    "exposure",
    "angle",
    "gusts",
    "crossing",
    "brightness",
    "reflection",
    "mist",
]
DERAIN = [sys.executable, "-m", "pipeline"]


def derain(*args: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*DERAIN, *map(str, args)], capture_output=True, text=True, timeout=60, check=False)


def info(width: int = 64, height: int = 48, **tags: object) -> ClipInfo:
    known = {"full_range": False, "color_range": 1} | tags
    return ClipInfo(width, height, Fraction(1, 1000), Fraction(25), **known)


def make(path: Path, about: ClipInfo, times: list[int], **settings: object) -> Path:
    """A clip of slowly changing ramps that use the whole of 0..255, also where the range is limited."""
    y = np.add.outer(np.arange(about.height) * 4, np.arange(about.width) * 4) % 256
    u = np.add.outer(np.arange((about.height + 1) // 2) * 5, np.arange((about.width + 1) // 2)) % 256
    with ClipWriter(path, about, **settings) as writer:
        for number, pts in enumerate(times):
            planes = (y + 2 * number) % 256, u, 255 - u
            writer.write(tuple(p.astype(np.uint8) for p in planes), pts, 40)
    return path


def read(path: Path) -> tuple[ClipInfo, list, list[float]]:
    with ClipReader(path) as reader:
        frames = list(reader)
        return reader.info, [f.planes for f in frames], [float(f.pts * reader.info.time_base) for f in frames]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_times_size_rotation_and_colour_tags_are_kept(tmp_path, suffix):
    tags = {"color_range": 2, "full_range": True, "colorspace": 1, "color_primaries": 1, "color_trc": 1, "rotation": 90}
    about = info(65, 49, **tags, sample_aspect_ratio=Fraction(4, 3))
    src = make(tmp_path / "in.mp4", about, [80, 120, 200, 210, 500])
    dst = tmp_path / f"out{suffix}"
    done = derain("rain", src, dst, "--seed", 4, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["frames"] == 5
    before, _, times_before = read(src)
    after, _, times_after = read(dst)
    assert times_after == pytest.approx(times_before, abs=1e-6)
    assert times_after == pytest.approx([0.08, 0.12, 0.2, 0.21, 0.5], abs=1e-6)
    kept = ["width", "height", "sample_aspect_ratio", *tags]
    assert {k: getattr(after, k) for k in kept} == {k: getattr(before, k) for k in kept}
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


@pytest.mark.parametrize("full_range", [False, True])
def test_dry_pixels_keep_their_values_and_wet_ones_brighten(tmp_path, full_range):
    about = info(full_range=full_range, color_range=2 if full_range else 1)
    src = make(tmp_path / "in.mkv", about, [0, 40, 80], codec="ffv1")
    dry, wet = tmp_path / "dry.mkv", tmp_path / "wet.mkv"
    assert derain("rain", src, dry, "--intensity", 0, "--codec", "ffv1").returncode == 0
    assert derain("rain", src, wet, "--intensity", 0.8, "--codec", "ffv1", "--brightness", 1).returncode == 0
    clean = read(src)[1]
    for before, after in zip(clean, read(dry)[1], strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    for before, after in zip(clean, read(wet)[1], strict=True):
        change = after[0].astype(int) - before[0]
        white = 255 if full_range else 235
        assert change[before[0] <= white].min() >= 0
        assert change.max() > 20
        assert 0.02 < np.mean(change == 0) < 0.98


def test_rain_falls_down_on_the_screen_however_the_picture_is_stored(tmp_path):
    knobs = ["--codec", "ffv1", "--intensity", 0.5, "--length", 40, "--angle", 0, "--gusts", 0]
    lying = []
    for turn in (0, 90):
        src = make(tmp_path / f"in{turn}.mkv", info(120, 120, rotation=turn), [0], codec="ffv1")
        assert derain("rain", src, tmp_path / f"out{turn}.mkv", *knobs).returncode == 0
        after, before = read(tmp_path / f"out{turn}.mkv")[1][0][0], read(src)[1][0][0]
        rain = np.where(before > 235, 0, after.astype(float) - before)
        lying.append(np.abs(np.diff(rain, axis=0)).mean() / np.abs(np.diff(rain, axis=1)).mean())
    assert lying[0] < 0.8  # streaks change little along the columns, and much across
    assert lying[1] > 1.25


def test_a_seed_gives_its_rain_again_and_random_draws_the_knobs(tmp_path):
    src = make(tmp_path / "in.mkv", info(), [0, 40], codec="ffv1")
    outs = []
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        dst = tmp_path / f"{name}.mkv"
        done = derain("rain", src, dst, "--seed", seed, "--random", "--opacity", 0.9, "--codec", "ffv1", "--json")
        outs.append((json.loads(done.stdout)["settings"], [p[0].tobytes() for p in read(dst)[1]]))
    assert outs[0] == outs[1]
    assert outs[0][0]["length"] != outs[2][0]["length"]
    assert {settings["opacity"] for settings, _ in outs} == {0.9}


def test_an_existing_file_stays_unless_overwrite_is_given(tmp_path):
    src = make(tmp_path / "in.mp4", info(), [0, 40])
    dst = tmp_path / "out.mp4"
    dst.write_text("mine")
    done = derain("rain", src, dst)
    assert (done.returncode, dst.read_text()) == (1, "mine")
    assert done.stderr == f"derain: {dst} is there already; pass --overwrite to replace it\n"
    assert derain("rain", src, dst, "--overwrite").returncode == 0
    assert len(read(dst)[1]) == 2


def test_a_clip_is_not_rained_on_in_place(tmp_path):
    src = make(tmp_path / "in.mp4", info(), [0, 40])
    before = src.read_bytes()
    done = derain("rain", src, src, "--overwrite")
    assert (done.returncode, src.read_bytes()) == (2, before)
    assert "is the clean video itself" in done.stderr


@pytest.mark.parametrize(
    ("case", "code", "text"),
    [
        ("missing", 1, "cannot read {src}: it is not there"),
        ("folder", 1, "cannot read {src}: it is a folder"),
        ("empty", 1, "cannot read {src}: "),
        ("text", 1, "{src}"),
        ("truncated", 1, "{src}"),
        ("no folder", 1, "there is no folder {tmp}/nowhere"),
        ("suffix", 2, "ends in one of .mp4"),
        ("knob", 2, "--intensity"),
        ("codec", 2, "ffv1 goes into .mkv"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_leaves_nothing(tmp_path, case, code, text):
    src, dst, extra = tmp_path / "in.mp4", tmp_path / "out.mp4", []
    if case == "folder":
        src.mkdir()
    elif case == "empty":
        src.touch()
    elif case == "text":
        src.write_text("this is not a video\n" * 50)
    elif case != "missing":
        make(src, info(), [0, 40])
    if case == "truncated":
        src.write_bytes(src.read_bytes()[:-300])
    dst = {"no folder": tmp_path / "nowhere" / "out.mp4", "suffix": tmp_path / "out.gif"}.get(case, dst)
    extra = {"knob": ["--intensity", 7], "codec": ["--codec", "ffv1"]}.get(case, [])
    done = derain("rain", src, dst, *extra)
    assert done.returncode == code, done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("derain: ")
    assert text.format(src=src, tmp=tmp_path) in done.stderr
    assert {p.name for p in tmp_path.iterdir()} <= {"in.mp4"}


def test_a_disk_that_fills_up_is_told_and_leaves_nothing(tmp_path):
    src = make(tmp_path / "in.mkv", info(160, 120), list(range(0, 40 * 20, 40)), codec="ffv1")
    limit = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000)); "
    run = limit + "from pipeline.cli import main; sys.exit(main(sys.argv[1:]))"
    args = ["rain", str(src), str(tmp_path / "out.mp4"), "--crf", "0"]
    done = subprocess.run([sys.executable, "-c", run, *args], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith(f"derain: cannot write {tmp_path}/out.mp4: ")
    assert done.stderr.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["in.mkv"]


def test_an_interrupted_rain_leaves_no_half_file(tmp_path):
    src = make(tmp_path / "in.mkv", info(320, 240), list(range(0, 40 * 600, 40)), codec="ffv1")
    with subprocess.Popen([*DERAIN, "rain", str(src), str(tmp_path / "out.mp4")], stderr=subprocess.PIPE) as process:
        end = time.monotonic() + 30
        while not list(tmp_path.glob(".out.mp4*")):
            assert time.monotonic() < end, "it has not begun to write"
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        process.wait(timeout=30)
    assert process.returncode == 130
    assert [p.name for p in tmp_path.iterdir()] == ["in.mkv"]


def test_the_help_tells_the_true_defaults():
    done = derain("rain", "--help")
    assert done.returncode == 0
    text = re.sub(r"[│\s]+", " ", done.stdout)
    for name in KNOBS:
        shown = re.search(rf"--{name} (?:(?! --).)*?\[(-?[\d.]+)\]", text)
        assert shown, name
        assert float(shown[1]) == RainSettings.model_fields[name].default, name
