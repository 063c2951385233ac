"""Files as sources that are cut, damaged, or no video at all."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.errors import DerainError
from pipeline.sources import open_source
from tests.clips import make_clip


def test_an_empty_file(tmp_path: Path):
    (tmp_path / "a.mp4").touch()
    with pytest.raises(DerainError, match=r"a\.mp4: is empty"):
        open_source(str(tmp_path / "a.mp4"))


@pytest.mark.parametrize("name", ["notes.txt", "notes.mp4", "notes"])
def test_text_is_not_a_video(tmp_path: Path, name: str):
    (tmp_path / name).write_text("It rains.\n" * 500)
    with pytest.raises(DerainError, match="is not a video"):
        open_source(str(tmp_path / name))


def test_sound_alone_is_not_a_video(tmp_path: Path):
    out = av.open(str(tmp_path / "a.mka"), "w", format="matroska")
    stream = out.add_stream("pcm_s16le", rate=8000)
    frame = av.AudioFrame.from_ndarray(np.zeros((1, 2000), np.int16), layout="stereo")
    frame.sample_rate, frame.pts = 8000, 0
    out.mux(stream.encode(frame))
    out.close()
    with pytest.raises(DerainError, match="holds no video, only audio"):
        open_source(str(tmp_path / "a.mka"))


@pytest.mark.parametrize(
    ("ending", "muxer"), [(".mp4", {}), (".mp4", {"movflags": "faststart"}), (".mkv", {}), (".avi", {}), (".webm", {})]
)
def test_a_file_cut_short_is_refused_and_says_how_much_is_there(tmp_path: Path, ending: str, muxer: dict[str, str]):
    codec = {".avi": "mpeg4", ".webm": "libvpx-vp9"}.get(ending, "libx264")
    path = make_clip(tmp_path / f"a{ending}", frames=20, codec=codec, muxer=muxer)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(DerainError, match=rf"cut short, {len(whole) * 2 // 3:,} of at least [\d,]+ bytes"):
        open_source(str(path))


def test_what_is_there_of_a_cut_file_can_be_had(tmp_path: Path):
    path = make_clip(tmp_path / "a.mkv", frames=20)
    path.write_bytes(path.read_bytes()[:-2000])
    with open_source(str(path), partial=True) as source:
        assert 5 <= len(list(source)) < 20


@pytest.mark.parametrize("ending", [".mp4", ".mkv", ".mov", ".avi", ".ts", ".webm", ".nut", ".flv"])
def test_a_whole_file_is_never_taken_for_a_cut_one(tmp_path: Path, ending: str):
    codec = {".avi": "mpeg4", ".webm": "libvpx-vp9"}.get(ending, "libx264")
    with open_source(str(make_clip(tmp_path / f"a{ending}", codec=codec))) as source:
        assert len(list(source)) == 10


def test_rubbish_after_the_end_of_an_mp4_does_not_matter(tmp_path: Path):
    path = make_clip(tmp_path / "a.mp4")
    path.write_bytes(path.read_bytes() + b"\xff" * 1000)
    with open_source(str(path)) as source:
        assert len(list(source)) == 10


def damage(path: Path, packet: int, begin: float, end: float, value: int) -> None:
    """Overwrite a part of one packet's data."""
    with av.open(str(path)) as held:
        packets = [bytes(packet) for packet in held.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    start, size = data.index(packets[packet]), len(packets[packet])
    first, last = start + int(begin * size), start + int(end * size)
    data[first:last] = bytes([value]) * (last - first)
    path.write_bytes(data)


def test_a_packet_that_cannot_be_decoded_is_counted_and_passed_over(tmp_path: Path):
    path = make_clip(tmp_path / "a.mkv", frames=30, options={"g": "5"})
    damage(path, 12, 0, 1, 0)
    with open_source(str(path)) as source:
        pts = [frame.header.pts for frame in source]
    assert source.damaged == 1
    assert pts == [n * 40 for n in range(30) if n != 12]


def test_a_frame_the_decoder_patched_up_is_counted_and_given(tmp_path: Path):
    path = make_clip(tmp_path / "a.mkv", frames=20, codec="mpeg4")
    damage(path, 7, 0.3, 0.8, 0xFF)
    with open_source(str(path)) as source:
        assert len(list(source)) == 20
    assert source.damaged == 1


def test_a_name_with_odd_characters_is_only_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    make_clip(tmp_path / "a.mp4").rename(tmp_path / "concat:50%d é 雨.mp4")
    monkeypatch.chdir(tmp_path)
    with open_source("concat:50%d é 雨.mp4") as source:
        assert len(list(source)) == 10
