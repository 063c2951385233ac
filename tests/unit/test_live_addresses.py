"""What `derain run` takes for a live source or destination, and what it refuses before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import DerainError, UsageError
from pipeline.live.check import check_order, resolved
from pipeline.live_status import LiveOrder
from pipeline.protocols import has_protocol
from pipeline.sinks.live import is_live_destination, live_destination
from pipeline.sources.live_address import is_live_source, live_address
from tests.front_door import derain


@pytest.mark.parametrize(
    "source", ["rtsp://c/1", "rtmp://h/a/b", "https://h/x.m3u8", "udp://:5000", "/dev/video0", "-", "lavfi:testsrc2"]
)
def test_live_sources(source: str) -> None:
    assert is_live_source(source)


@pytest.mark.parametrize("source", ["film.mp4", "folder", "a:b.mkv", "./-.mkv", "ftp://h/x"])
def test_sources_that_are_not_live(source: str) -> None:
    assert not is_live_source(source)


@pytest.mark.parametrize(
    "destination", ["rtmp://h/a/b", "rtsp://h/x", "-", "hls/cam.m3u8", "cam-%H%M.mkv", "udp://h:1"]
)
def test_live_destinations(destination: str) -> None:
    assert is_live_destination(destination)


@pytest.mark.parametrize("destination", ["film.mp4", "100%.mkv", "folder", "frames/"])
def test_destinations_that_are_not_live(destination: str) -> None:
    assert not is_live_destination(destination)


def test_rtsp_goes_over_tcp_unless_told() -> None:
    assert live_address("rtsp://c/1").options["rtsp_transport"] == "tcp"
    assert live_address("rtsp://c/1", rtsp_transport="udp").options["rtsp_transport"] == "udp"


def test_a_silent_socket_is_given_up_after_the_stall_timeout() -> None:
    assert live_address("rtsp://c/1", stall_timeout=2.5).options["timeout"] == "2500000"


def kind(address: str, encoder: str = "libx264", sound: bool = False) -> tuple[str, str]:
    made = live_destination(address, overwrite=False, encoder=encoder, sound=sound)
    return made.kind, made.muxer


def test_kinds_of_destinations(tmp_path: Path) -> None:
    assert kind("rtmp://h/app/key") == ("push", "flv")
    assert kind("rtsp://h/x") == ("push", "rtsp")
    assert kind("udp://h:5000") == ("push", "mpegts")
    assert kind("-") == ("stdout", "mpegts")
    assert kind(f"{tmp_path}/a.m3u8") == ("hls", "hls")
    assert kind(f"{tmp_path}/a.mkv") == ("file", "matroska")
    assert kind(f"{tmp_path}/a-%H%M%S.ts") == ("rolling", "mpegts")


@pytest.mark.parametrize(
    ("address", "encoder", "sound", "said"),
    [
        ("rtmp://h/a/b", "libx265", False, "does not take libx265"),
        ("sftp://h/a", "libx264", False, "not sftp"),
        ("rtmp:///app", "libx264", False, "names no host"),
        ("a.mp3", "libx264", False, "cannot tell a container"),
        ("a.avi", "libx264", False, "not playable when it is cut off"),
        ("a.webm", "libvpx-vp9", True, "--no-audio"),
    ],
)
def test_what_cannot_be_meant(address: str, encoder: str, sound: bool, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        kind(address, encoder, sound)


def test_a_password_is_not_in_the_refusal() -> None:
    with pytest.raises(UsageError) as refused:
        kind("sftp://u:hunter2@h/a")
    assert "hunter2" not in str(refused.value)


def test_files_that_are_there_stay(tmp_path: Path) -> None:
    (tmp_path / "a.mkv").touch()
    with pytest.raises(DerainError, match="exists already"):
        kind(f"{tmp_path}/a.mkv")
    with pytest.raises(DerainError, match="there is no folder"):
        kind(f"{tmp_path}/no/a.mkv")


def test_a_virtual_camera_needs_a_device_and_its_package() -> None:
    with pytest.raises(DerainError, match=r"pyvirtualcam|v4l2loopback"):
        kind("/dev/video99")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model": "no-such"}, "no-such"),
        ({"codec": "h263"}, "h263"),
        ({"duration": 0.0}, "--duration"),
        ({"stall_timeout": 0.0}, "stall timeout"),
        ({"destinations": ["-"]}, "standard input or output"),
        ({"destinations": ["udp://h:1", "udp://h:1"]}, "named twice"),
    ],
)
def test_orders_that_cannot_be_carried_out(change: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        check_order(LiveOrder(**({"id": "a", "source": "rtsp://c/1", "model": "identity"} | change)))  # type: ignore[arg-type]


def test_two_spellings_of_one_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`rec/a.mkv` and `rec/../rec/a.mkv` were compared letter by letter: the output of one was lost."""
    (tmp_path / "rec").mkdir()
    (tmp_path / "link").symlink_to("rec")
    monkeypatch.chdir(tmp_path)
    for other in ("rec/../rec/a.mkv", "./rec/a.mkv", f"{tmp_path}/rec/a.mkv", "link/a.mkv"):
        done = derain("run", "lavfi:testsrc2", "rec/a.mkv", other, "--model", "identity", "--duration", "1")
        assert done.returncode == 2 and f"{other}: is the same as rec/a.mkv" in done.stderr
    done = derain("stage", "encode", "a.m3u8", "./a.m3u8", "--connect", "ipc:///tmp/none")
    assert done.returncode == 2 and "./a.m3u8: is the same as a.m3u8" in done.stderr
    assert not any((tmp_path / "rec").iterdir())


@pytest.mark.skipif(has_protocol("srt"), reason="this FFmpeg has SRT")
def test_a_protocol_that_ffmpeg_lacks_is_told(tmp_path: Path) -> None:
    """`srt://` was tried for ever, `--check` found nothing wrong, and a served stream stayed `starting`."""
    said = "srt://h:9000?passphrase=***: this build of FFmpeg has no srt; build PyAV"
    srt = "srt://h:9000?passphrase=hunter2"
    config = tmp_path / "live.yaml"
    config.write_text(f"streams: [{{id: a, source: '{srt}', model: identity}}]")
    runs: list[tuple[int, tuple[str, ...]]] = [
        (2, ("run", "lavfi:testsrc2", srt, "--model", "identity", "--duration", "1")),
        (2, ("run", srt, str(tmp_path / "a.mkv"), "--model", "identity")),
        (2, ("stage", "encode", srt, "--connect", "ipc:///tmp/none")),
        (1, ("serve", "--check", str(config))),
    ]
    for code, command in runs:
        done = derain(*command)
        assert (done.returncode, said in done.stderr) == (code, True), done.stderr


def test_every_protocol_of_pyavs_wheel_is_found() -> None:
    for scheme in ("rtsp", "rtsps", "rtmp", "rtmps", "http", "https", "udp", "tcp"):
        assert has_protocol(scheme), scheme
    assert not has_protocol("no-such") and not has_protocol("no-such", output=True)


def test_a_missing_file_is_told() -> None:
    with pytest.raises(DerainError, match="no such file"):
        check_order(LiveOrder(id="a", source="no-such.ts", model="identity"))


def test_an_address_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAMERA", "rtsp://u:p@c/1")
    assert resolved("env:CAMERA") == "rtsp://u:p@c/1"
    monkeypatch.delenv("CAMERA")
    with pytest.raises(DerainError, match="no variable CAMERA"):
        resolved("env:CAMERA")


def test_a_variable_that_is_not_set_is_named_at_the_front_door(monkeypatch: pytest.MonkeyPatch) -> None:
    """`derain run env:NAME` took it for a file that is not there."""
    monkeypatch.delenv("CAMERA", raising=False)
    done = derain("run", "env:CAMERA", "out.mkv")
    assert done.returncode == 1
    assert "the environment has no variable CAMERA" in done.stderr


@pytest.mark.parametrize(
    ("source", "destination", "says"),
    [
        ("tcp://127.0.0.1:99999", "out.mkv", "is no address; a port is a number up to 65535"),
        ("rtsp://user:secret/2@c/1", "out.mkv", "/ and # in a password are %2F and %23"),
        ("lavfi:testsrc2", "rtmp://user:secret#2@c/1", "/ and # in a password are %2F and %23"),
        ("lavfi:testsrc2", "udp://127.0.0.1", "names no port; write udp://127.0.0.1:PORT"),
        ("rtsp://user:word@c:99999/1", "out.mkv", "/ and # in a password are %2F and %23"),
        ("foo://u:secret@bar", "out.mkv", "is no file, and no kind of stream that can be read"),
    ],
)
def test_addresses_that_cannot_be_meant_are_one_line(source: str, destination: str, says: str) -> None:
    done = derain("run", source, destination)
    assert done.returncode in (1, 2)
    assert says in done.stderr and "secret" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
