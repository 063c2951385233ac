"""Rolling recordings: what their segments are called, which of them are removed, and what a full disk leaves."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from pipeline.errors import DerainError, UsageError
from pipeline.sinks.live import LiveDestination, live_destination
from pipeline.sinks.live_muxer import LiveMuxer
from pipeline.sinks.ring import Ring
from pipeline.sinks.rolling_name import name_now, names_of
from tests.live_packets import packets
from tests.live_run import frames_of


def recording(folder: Path, *names: str) -> None:
    """Files of some bytes, the first the oldest."""
    for number, name in enumerate(names):
        (folder / name).write_bytes(b"picture")
        os.utime(folder / name, (1000.0 + number, 1000.0 + number))


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_ring_leaves_the_recordings_of_another_alone(tmp_path: Path) -> None:
    """A field took any letters, so that `gate-` removed what the camera `gate-east-` had recorded."""
    mine = [f"gate-20261129-12000{n}.mkv" for n in range(5)]
    other = ["gate-east-20261129-120000.mkv", "gate-2026-20261129-120000.mkv", "gate-20261129-990000.mkv"]
    recording(tmp_path, *other, *mine, "gate-20261129-120004-2.mkv", "gate-20261129-120004-east.mkv")
    Ring(f"{tmp_path}/gate-%Y%m%d-%H%M%S.mkv", 3).trim()
    assert left(tmp_path) == sorted([*other, *mine[3:], "gate-20261129-120004-2.mkv", "gate-20261129-120004-east.mkv"])


def test_a_time_of_day_is_no_number_of_a_name_that_was_taken(tmp_path: Path) -> None:
    """`gate-%Y%m%d` takes NAME-2 for its own, but not what `gate-%Y%m%d-%H%M%S` wrote."""
    other = ["gate-20261129-120000.mkv", "gate-20261129-091500.mkv"]
    recording(tmp_path, *other, "gate-20261128.mkv", "gate-20261129.mkv", "gate-20261129-2.mkv")
    Ring(f"{tmp_path}/gate-%Y%m%d.mkv", 1).trim()
    assert left(tmp_path) == sorted([*other, "gate-20261129-2.mkv"])


@pytest.mark.parametrize(
    "template",
    [
        "%Y%m%d-%H%M%S",
        "%a %b %e %j",
        "%A-%B-%-d-%-H",
        "%s",
        "%F %T",
        "%c",
        "%I%p-%y%U%W%V%G%u%w",
        "100%%-%z%Z-%S",
        "%r",
    ],
)
def test_every_name_of_a_template_is_known_again(template: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through a year, by steps that no field keeps time with."""
    names, written = names_of(f"/rec/{template}.mkv"), time.strftime
    for hours in range(0, 8790, 53):
        moment = time.localtime(1_780_000_000 + hours * 3677)
        with monkeypatch.context() as patched:
            patched.setattr(time, "strftime", lambda field, moment=moment: written(field, moment))
            name = name_now(f"/rec/{template}.mkv")
        assert name.startswith("/rec/")
        assert names.fullmatch(name.removeprefix("/rec/")), name
        assert names.fullmatch(name.removeprefix("/rec/").replace(".mkv", "-12.mkv"))
        assert not names.fullmatch("east-" + name.removeprefix("/rec/"))


def test_what_no_name_is_made_of_is_said(tmp_path: Path) -> None:
    """`%f` stood in the name as it is, and `%D` has slashes; a folder named for the day was looked for as `%Y`."""
    for field in ("%f", "%D"):
        with pytest.raises(UsageError, match=f"{field} is no field"):
            live_destination(f"{tmp_path}/a-%H{field}.mkv", overwrite=False, encoder="", sound=False)
    with pytest.raises(DerainError, match="for the file's name only"):
        live_destination(f"{tmp_path}/%Y/%H.mkv", overwrite=False, encoder="", sound=False)


def test_a_folder_with_a_percent_sign_is_taken_as_it_stands(tmp_path: Path) -> None:
    folder = tmp_path / "100%done"
    folder.mkdir()
    to = live_destination(f"{folder}/a-%Y.ts", overwrite=False, encoder="", sound=False)
    assert (to.kind, name_now(to.address)) == ("rolling", f"{folder}/a-{time.strftime('%Y')}.ts")
    assert live_destination(f"{folder}/a.ts", overwrite=False, encoder="", sound=False).kind == "file"


def test_segments_cut_off_by_a_full_disk_do_not_push_out_whole_ones(tmp_path: Path) -> None:
    """One every two seconds, all with a picture or less in them: an hour of recordings was gone within a minute."""
    recording(tmp_path, *(f"c-{n}.ts" for n in range(1000, 1009)))
    (tmp_path / "c-2000.ts").touch()
    ring = Ring(f"{tmp_path}/c-%Y.ts", 3)
    for name in ("c-1006.ts", "c-1008.ts"):
        ring.add(f"{tmp_path}/{name}", cut_off=True)
    ring.trim()
    assert left(tmp_path) == ["c-1004.ts", "c-1005.ts", "c-1006.ts", "c-1007.ts", "c-1008.ts", "c-2000.ts"]


def test_the_oldest_gives_way_to_a_full_disk_unless_that_is_in_vain(tmp_path: Path) -> None:
    """A ring that had filled the disk itself stood still for ever. One segment goes, another only where what the first
    left could be written to: where something else fills the disk, all recordings would go."""
    recording(tmp_path, *(f"c-{n}.ts" for n in range(1000, 1004)))
    ring = Ring(f"{tmp_path}/c-%Y.ts", 9)
    assert ring.give_way() and not ring.give_way()
    assert left(tmp_path) == ["c-1001.ts", "c-1002.ts", "c-1003.ts"]
    (tmp_path / "c-3000.ts").write_bytes(b"picture")
    ring.add(f"{tmp_path}/c-3000.ts", cut_off=True)
    assert ring.give_way()
    assert left(tmp_path) == ["c-1002.ts", "c-1003.ts", "c-3000.ts"]


def test_the_last_segment_never_gives_way(tmp_path: Path) -> None:
    recording(tmp_path, "c-1000.ts")
    assert not Ring(f"{tmp_path}/c-%Y.ts", 9).give_way()


def test_an_attempt_without_a_picture_leaves_no_file(tmp_path: Path) -> None:
    """A full disk left an empty file every two seconds, for ever. What has a picture in it stays."""
    made = packets(1)
    for ending, muxer in (("mkv", "matroska"), ("ts", "mpegts"), ("mp4", "mp4")):
        to = LiveDestination(f"{tmp_path}/film.{ending}", "file", muxer)
        writer = LiveMuxer(to, stdout=-1, segment_time=5.0, keep=0, overwrite=False)
        writer.open(made[0][0], made[0][2])
        assert left(tmp_path) == [f"film.{ending}"]
        writer.abandon()
        assert left(tmp_path) == []
        writer.open(made[0][0], made[0][2])
        for packet in made:
            writer.write(*packet)
        writer.abandon()
        assert frames_of(tmp_path / f"film.{ending}") == 10
        (tmp_path / f"film.{ending}").unlink()


def test_a_file_that_was_there_before_is_not_taken_for_an_empty_attempt(tmp_path: Path) -> None:
    """What is no video, and can't be replaced, is not removed either."""
    (tmp_path / "film.mkv").mkdir()
    to = LiveDestination(f"{tmp_path}/film.mkv", "file", "matroska")
    writer = LiveMuxer(to, stdout=-1, segment_time=5.0, keep=0, overwrite=True)
    with pytest.raises(DerainError):
        writer.open(packets(1)[0][0], packets(1)[0][2])
    writer.abandon()
    assert left(tmp_path) == ["film.mkv"]


def test_segments_of_a_ring(tmp_path: Path) -> None:
    """Six segments within one second, of which two are kept; the names take numbers."""
    writer = LiveMuxer(
        LiveDestination(f"{tmp_path}/c-%Y.ts", "rolling", "mpegts"),
        stdout=-1,
        segment_time=1.0,
        keep=2,
        overwrite=False,
    )
    made = packets(6)
    writer.open(made[0][0], made[0][2])
    for packet in made:
        writer.write(*packet)
    writer.close()
    assert len(left(tmp_path)) == 2
    assert [frames_of(tmp_path / name) for name in left(tmp_path)] == [10, 10]
