"""Sinks: the contract all of them keep, full disks, what was left behind, and what cannot be meant."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import DerainError, UsageError
from pipeline.frame import Frame, StreamInfo
from pipeline.sinks import EncodeOptions, open_sink
from pipeline.sinks.temporary import sweep, temporary_beside
from tests.facts import facts
from tests.sinking import LOSSLESS, frame_of, hidden, info_of, write

# --- The contract -----------------------------------------------------------------------------------------------------


SINKS = {
    "mp4": ("out.mp4", EncodeOptions(preset="ultrafast"), "yuv420p"),
    "mkv": ("out.mkv", LOSSLESS, "yuv420p"),
    "grey": ("out.mkv", LOSSLESS, "gray"),
    "folder": ("out", EncodeOptions(), "yuv420p"),
    "folder-of-rgb": ("out", EncodeOptions(), "rgb24"),
}


@pytest.fixture(params=SINKS)
def kind(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, EncodeOptions, StreamInfo]:
    name, options, pixel_format = SINKS[request.param]
    return tmp_path / name, options, info_of(pixel_format=pixel_format)


def test_the_destination_appears_whole_at_the_end(kind):
    path, options, info = kind
    sink = open_sink(str(path), info, options)
    for index in range(3):
        sink.write(frame_of(index, info))
        assert not path.exists()
        assert len(hidden(path.parent)) == 1
    sink.close()
    assert path.exists()
    assert hidden(path.parent) == []
    assert sink.frames == 3
    assert sink.warnings == []


def test_abort_leaves_nothing(kind):
    path, options, info = kind
    sink = open_sink(str(path), info, options)
    sink.write(frame_of(0, info))
    sink.abort()
    assert os.listdir(path.parent) == []


def test_an_error_while_open_leaves_nothing(kind):
    path, options, info = kind

    def fail_half_way() -> None:
        with open_sink(str(path), info, options) as sink:
            sink.write(frame_of(0, info))
            raise KeyError

    with pytest.raises(KeyError):
        fail_half_way()
    assert os.listdir(path.parent) == []


def test_close_and_abort_may_follow_each_other(kind):
    path, options, info = kind
    sink = open_sink(str(path), info, options)
    sink.write(frame_of(0, info))
    for end in (sink.close, sink.close, sink.abort, sink.close):
        end()
    assert path.exists()


def test_nothing_can_be_written_after_the_end(kind):
    path, options, info = kind
    sink = write(path, info, options)
    with pytest.raises(DerainError, match="is closed"):
        sink.write(frame_of(9, info))
    assert path.exists()


def test_no_frame_is_an_error_not_an_empty_file(kind):
    path, options, info = kind
    sink = open_sink(str(path), info, options)
    with pytest.raises(DerainError, match="no frame arrived"):
        sink.close()
    assert os.listdir(path.parent) == []


def test_refuses_what_exists_and_replaces_it_when_told(kind):
    path, options, info = kind
    write(path, info, options)
    with pytest.raises(DerainError, match=r"exists already.*--overwrite"):
        open_sink(str(path), info, options)
    with open_sink(str(path), info, EncodeOptions(codec=options.codec, overwrite=True)) as sink:
        sink.write(frame_of(0, info))
    assert hidden(path.parent) == []


def test_does_not_replace_a_file_that_came_while_it_was_writing(tmp_path: Path):
    path, info = tmp_path / "out.mkv", info_of()
    sink = open_sink(str(path), info, LOSSLESS)
    sink.write(frame_of(0, info))
    path.write_text("mine")
    with pytest.raises(DerainError, match="exists already"):
        sink.close()
    assert path.read_text() == "mine"
    assert hidden(path.parent) == []


def test_a_missing_folder_is_named(kind):
    path, options, info = kind
    with pytest.raises(DerainError, match=r"there is no folder .*/no"):
        open_sink(str(path.parent / "no" / path.name), info, options)


# --- Disk and processes -----------------------------------------------------------------------------------------------


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """As on a full disk: a file cannot grow beyond this many bytes (Python ignores the signal that comes with it)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out.ts", "out"])
def test_a_disk_that_is_full_leaves_nothing(tmp_path: Path, name: str):
    rng = np.random.default_rng(0)
    info = info_of(256, 256, "rgb24" if name == "out" else "yuv420p")

    def write_noise() -> None:
        with open_sink(str(tmp_path / name), info, EncodeOptions(preset="ultrafast", crf=1)) as sink:
            for index in range(8):
                frame = frame_of(index, info)
                sink.write(Frame(frame.header, rng.integers(0, 256, frame.pixels.shape, np.uint8)))

    with largest_file(30_000), pytest.raises(DerainError, match=rf"{name}: .*(larger|full)") as caught:
        write_noise()
    assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == []


def test_a_place_that_cannot_be_written_is_told_before_the_first_frame(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(DerainError, match="there is no folder"):
        open_sink(str(tmp_path / "file" / "out.mp4"), info_of(), EncodeOptions())
    with pytest.raises(DerainError, match="cannot be written"):
        open_sink("/proc/out.mp4", info_of(), EncodeOptions())


def test_sweep_removes_what_killed_processes_left_and_nothing_else(tmp_path: Path):
    destination = str(tmp_path / "out.mp4")
    script = f"from pipeline.sinks.temporary import temporary_beside as t; open(t({destination!r}), 'w')"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=30)
    (left,) = hidden(tmp_path)
    mine = temporary_beside(destination)
    other = temporary_beside(str(tmp_path / "other.mp4")).replace(f"-{os.getpid()}-", "-999999999-")
    for path in (mine, other):
        Path(path).touch()
    assert sweep(destination) == [str(tmp_path / left)]
    assert sorted(hidden(tmp_path)) == sorted(map(os.path.basename, (mine, other)))


def test_sweep_takes_a_killed_process_for_dead_that_nobody_has_waited_for(tmp_path: Path):
    """In a container whose first process is slow to, half files of killed workers stayed beside the finished films."""
    destination = str(tmp_path / "out.mp4")
    script = (
        "from pipeline.sinks.temporary import temporary_beside as t; import os, time; "
        f"open(t({destination!r}), 'w'); print(flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline()
    assert sweep(destination) == []
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and stays a zombie
    assert len(sweep(destination)) == 1
    process.wait()
    process.stdout.close()


def test_long_names_leave_room_for_the_mark(tmp_path: Path):
    path = tmp_path / ("雨" * 80 + ".mkv")
    write(path, info_of())
    assert path.exists()


# --- What is asked for ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("a.mp4", EncodeOptions(codec="h266"), "no such encoder; choose one of .*libx264"),
        ("a.mp4", EncodeOptions(crf=52), "takes 0 .* to 51"),
        ("a.mp4", EncodeOptions(preset="hasty"), "takes ultrafast"),
        ("a.mkv", EncodeOptions(codec="ffv1", crf=20), "ffv1 is lossless; leave --crf"),
        ("a.webm", EncodeOptions(codec="libx264"), r"cannot hold libx264 video; use .*\.mkv"),
        ("a.avi", EncodeOptions(codec="libx264"), r"cannot hold libx264 video; use .*\.mkv"),
        ("a.ts", EncodeOptions(codec="ffv1"), r"cannot hold ffv1 video; use .*\.mkv"),
        ("a.mov", EncodeOptions(codec="libvpx-vp9"), r"cannot hold libvpx-vp9 video; use (?!.*\.mov).*\.mkv"),
        ("a.mov", EncodeOptions(codec="libsvtav1"), r"cannot hold libsvtav1 video; use (?!.*\.mov).*\.mp4"),
        ("a.doc", EncodeOptions(), r"ending '\.doc'; use \.mp4"),
    ],
)
def test_what_cannot_be_meant_is_wrong_usage_and_says_what_can(
    tmp_path: Path, name: str, options: EncodeOptions, message: str
):
    with pytest.raises(UsageError, match=message):
        open_sink(str(tmp_path / name), info_of(), options)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("codec", "name", "written"),
    [("h264", "a.mp4", "h264"), ("hevc", "a.mp4", "hevc"), ("av1", "a.mkv", "av1"), ("vp9", "a.webm", "vp9")],
)
def test_codecs_by_their_usual_name(tmp_path: Path, codec: str, name: str, written: str):
    info = info_of()
    write(tmp_path / name, info, EncodeOptions(codec=codec))
    held = facts(tmp_path / name)
    assert held.streams[0].codec == written
    assert held.pts == [Fraction(n, 25) for n in range(5)]
    assert held.average_rate == 25


def test_a_size_the_encoder_cannot_take_is_told(tmp_path: Path):
    with pytest.raises(DerainError, match="libx264 cannot encode 20000x2 yuv420p; use another --codec"):
        open_sink(str(tmp_path / "a.mp4"), info_of(20000, 2), EncodeOptions())
    assert os.listdir(tmp_path) == []


def test_better_crf_is_larger(tmp_path: Path):
    info = info_of()
    sizes = []
    for crf in (10, 40):
        write(tmp_path / f"{crf}.mp4", info, EncodeOptions(crf=crf))
        sizes.append((tmp_path / f"{crf}.mp4").stat().st_size)
    assert sizes[0] > sizes[1]
