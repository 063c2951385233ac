"""The file of `derain serve`: what it may say, and that every error names the line and the key."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import DerainError, UsageError
from pipeline.service.config import Listen, StreamSettings, load_config, parse_stream
from tests.front_door import derain


def load(tmp_path: Path, text: str):
    path = tmp_path / "live.yaml"
    path.write_text(text)
    return load_config(str(path))


def refused(tmp_path: Path, text: str, kind: type[DerainError] = UsageError) -> str:
    """What is said about a file, without the folder."""
    with pytest.raises(kind) as caught:
        load(tmp_path, text)
    return str(caught.value).replace(str(tmp_path) + "/", "")


def test_an_empty_file_is_a_service_without_streams(tmp_path: Path) -> None:
    config = load(tmp_path, "")
    assert config.streams == [] and (config.listen.host, config.listen.port) == ("127.0.0.1", 8080)


def test_an_address_may_stand_in_brackets() -> None:
    """As it does in the addresses that the service prints; it was "no address"."""
    assert Listen(host="[::1]").host == "::1"


def test_defaults_hold_for_all_and_each_may_overrule(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        "defaults: {model: stream, crf: 20}\n"
        "streams:\n  - {id: a, source: rtsp://h/1}\n  - {id: b, source: rtsp://h/2, model: identity}\n",
    )
    assert [(one.model, one.crf) for one in config.streams] == [("stream", 20), ("identity", 20)]


def test_equal_streams_compare_equal_so_that_a_reload_leaves_them(tmp_path: Path) -> None:
    text = "streams: [{id: a, source: rtsp://h/1}]"
    assert load(tmp_path, text).streams == load(tmp_path, "# moved down\n\n" + text).streams


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("lisen: {}\n", "live.yaml:1: lisen: unknown key; known are defaults, drain_seconds"),
        ("listen:\n  host: 127.0.0.1\n  prt: 80\n", "live.yaml:3: listen.prt: unknown key; known are host"),
        ("listen:\n  port: 70000\n", "live.yaml:2: listen.port: Input should be less than or equal to"),
        ("listen:\n  host: example.org\n", "live.yaml:2: listen.host: 'example.org' is no address"),
        ("streams:\n  - source: rtsp://h/1\n", "live.yaml:2: streams[0].id is missing"),
        ("streams:\n- id: a\n  source: s\n- id: a\n  source: t\n", "live.yaml:4: streams[1].id: 'a' is taken (line 2)"),
        ("streams:\n- id: A b\n  source: s\n", "live.yaml:2: streams[0].id: 'A b': a-z, 0-9, - and _ only"),
        ("streams:\n- id: a\n  source: s\n  on_loss: explode\n", "live.yaml:4: streams[0].on_loss: Input should"),
        ("streams:\n- id: a\n  source: s\n  stall_timeout: .nan\n", "live.yaml:4: streams[0].stall_timeout: "),
        ("defaults:\n  crf: high\nstreams: [{id: a, source: s}, {id: b, source: s}]\n", "live.yaml:2: defaults.crf: "),
        ("defaults:\n  colour: red\nstreams: [{id: a, source: s}]\n", "live.yaml:2: defaults.colour: unknown key"),
        (
            "streams:\n- id: a\n  source: s\n  destinations: [rec/a.mkv]\n",
            "live.yaml:4: streams[0].destinations: rec/a.mkv: a stream that is started again can't go on with a plain "
            "file; name rec/a-%Y%m%d-%H%M%S.mkv, or set overwrite: true",
        ),
        (
            "streams:\n- id: a\n  source: s\n  destinations: ['-']\n",
            "live.yaml:4: streams[0].destinations: -: a service has no standard output",
        ),
        ("- a\n- b\n", "live.yaml:1: a mapping of keys is expected (listen, streams …), not a list"),
        ("max_streams: 3\n", "live.yaml:1: max_streams needs lease_folder"),
        ("listen:\n  names: ['http://foo/']\n", "live.yaml:2: listen.names: 'http://foo/' is no host name"),
        ("listen:\n  names: ['foo:8080']\n", "live.yaml:2: listen.names: 'foo:8080' is no host name"),
        ("restart:\n  first_delay: 40\n", "live.yaml:1: restart: first_delay (40) is above longest_delay (30)"),
        (
            "streams:\n- {id: a, source: s, destinations: [o.m3u8]}\n- {id: b, source: t, destinations: [o.m3u8]}\n",
            "live.yaml:3: streams[1].destinations[0]: o.m3u8 is where the stream 'a' writes already",
        ),
        (
            "streams:\n- {id: a, source: s, destinations: [o.m3u8]}\n- {id: b, source: t, destinations: [./o.m3u8]}\n",
            "live.yaml:3: streams[1].destinations[0]: ./o.m3u8 is where the stream 'a' writes already",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_line_and_key(tmp_path: Path, text: str, said: str) -> None:
    assert said in refused(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("listen:\n  port: 1\n  port: 2\n", "live.yaml:3: listen.port is given twice (first on line 2)"),
        ("listen: {port: 1\n", "live.yaml:2: not YAML ("),
        ("1: 2\n", "live.yaml:1: '1' is no name for a key"),
        ("? [a]\n: 1\n", "live.yaml:1: a key must be a plain word"),
        (
            "streams:\n- id: a\n  source: rtsp://u:${DERAIN_NOT_SET}@h\n",
            "live.yaml:3: streams[0].source names the environment variable DERAIN_NOT_SET, which is not set",
        ),
        ("a: " + "[" * 40 + "]" * 40, "nested deeper than"),
    ],
)
def test_what_is_no_good_yaml_is_told_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    assert said in refused(tmp_path, text, DerainError)


def test_a_wrong_default_is_told_once(tmp_path: Path) -> None:
    said = refused(tmp_path, "defaults: {crf: high}\nstreams: [{id: a, source: s}, {id: b, source: s}]\n")
    assert said.count("crf") == 1


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    said = refused(tmp_path, "streams:\n- id: a\n- id: b\n  sauce: x\n  source: s\n")
    assert "live.yaml:2: streams[0].source is missing" in said and "live.yaml:4: streams[1].sauce" in said


def test_passwords_come_from_the_environment_and_stay_out_of_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAMERA_PASSWORD", "hunter2")
    text = "streams:\n- id: a\n  source: rtsp://u:${CAMERA_PASSWORD}@h/1\n"
    assert load(tmp_path, text).streams[0].source == "rtsp://u:hunter2@h/1"
    twice = "streams:\n- {id: a, source: s, destinations: ['rtmp://u:${CAMERA_PASSWORD}@h/a/b']}\n" * 1
    twice += "- {id: b, source: s, destinations: ['rtmp://u:${CAMERA_PASSWORD}@h/a/b']}\n"
    assert "hunter2" not in refused(tmp_path, twice)
    assert "hunter2" not in refused(tmp_path, text + "  on_loss: rtsp://u:${CAMERA_PASSWORD}@h/1\n")


def test_no_file_and_no_text(tmp_path: Path) -> None:
    with pytest.raises(DerainError, match="no such file"):
        load_config(str(tmp_path / "none.yaml"))
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DerainError, match="can't be read"):
        load_config(str(tmp_path / "bytes.yaml"))


def test_a_stream_of_the_api_takes_the_defaults() -> None:
    stream = parse_stream({"id": "a", "source": "s"}, StreamSettings(model="identity"))
    assert stream.model == "identity"
    with pytest.raises(UsageError, match="destinations"):
        parse_stream({"id": "a", "source": "s", "destinations": "out.mkv"}, StreamSettings())


def test_every_setting_of_a_stream_reaches_its_order() -> None:
    from pipeline.live_status import read_order
    from pipeline.service.config import StreamConfig
    from pipeline.service.order import make_order

    stream = StreamConfig(
        id="a", source="rtsp://h/1", destinations=["rtsp://h/2"], model="stream", crf=30, threads=2, on_loss="slate",
        on_overload="downscale", stall_timeout=7, preview_width=320, keep_segments=3, overwrite=True,
    )  # fmt: skip
    order = read_order(make_order(stream, status="ipc:///s", preview="ipc:///p"))
    assert (order.status, order.preview) == ("ipc:///s", "ipc:///p")
    for name in StreamConfig.model_fields:
        if name not in ("title", "autostart", "preview"):
            assert getattr(order, name) == getattr(stream, name), name


@pytest.mark.parametrize("path", ["configs/live.yaml", "examples/live.yaml"])
def test_the_files_we_ship_can_be_loaded(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CAMERA_PASSWORD", "RTMP_KEY"):
        monkeypatch.setenv(name, "x" * 8)
    assert load_config(str(Path(__file__).parents[2] / path)).streams


@pytest.mark.parametrize("name", ["derain.example.org", "localhost", "gate_pc", "192.0.2.7", "2001:db8::1"])
def test_names_that_browsers_may_use(tmp_path: Path, name: str) -> None:
    assert load(tmp_path, f"listen: {{names: ['{name}']}}\n").listen.names == [name]


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("listen: {host: 0.0.0.0}\n", 2, "open to the network"),
        ("listen: {token_file: FOLDER/none}\n", 1, "the token can't be read"),
        ("listen: {token_file: FOLDER/open}\n", 1, "everybody can read this token"),
        ("listen: {token_file: FOLDER/empty}\n", 2, "at least 16 characters"),
        ("lease_folder: FOLDER/none\n", 1, "there is no such folder for leases"),
    ],
)
def test_a_check_finds_what_starting_would_refuse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, code: int, said: str
) -> None:
    """`derain serve --check` said "nothing wrong" of a file that could not be started with: the unit's ExecStartPre was
    no help."""
    monkeypatch.delenv("DERAIN_TOKEN", raising=False)
    for name, mode, token in (("open", 0o644, "a-token-of-some-length"), ("empty", 0o600, "")):
        (tmp_path / name).write_text(token)
        (tmp_path / name).chmod(mode)
    path = tmp_path / "live.yaml"
    path.write_text(text.replace("FOLDER", str(tmp_path)))
    done = derain("serve", "--check", path)
    assert done.returncode == code and said in done.stderr and done.stderr.count("\n") == 1


def test_a_segment_is_at_least_from_keyframe_to_keyframe(tmp_path: Path) -> None:
    """docs/live.md asks for it; a shorter one was taken and came out as long as `gop`."""
    path = tmp_path / "live.yaml"
    stream = f"{{id: a, source: 'lavfi:testsrc2', destinations: ['{tmp_path}/%%H.mkv'], segment_time: 3, gop: %s}}"
    path.write_text(f"streams: [{stream % 4}]\n")
    done = derain("serve", "--check", path)
    assert done.returncode == 1 and "segment time (3 s) must be at least gop (4 s)" in done.stderr
    path.write_text(f"streams: [{stream % 3}]\n")
    assert derain("serve", "--check", path).returncode == 0


def test_a_check_finds_what_a_streams_process_would_refuse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`derain serve --check` had nothing against a folder and a model that are not there; the stream died again and
    again."""
    monkeypatch.delenv("NOPE", raising=False)
    path = tmp_path / "streams.yaml"
    path.write_text(
        "streams:\n"
        f"  - {{id: a, source: 'lavfi:testsrc2', destinations: ['{tmp_path}/none/a-%H.mkv']}}\n"
        "  - {id: b, source: 'lavfi:testsrc2', model: nobody}\n"
        "  - {id: c, source: 'env:NOPE'}\n"
        "  - {id: d, source: 'lavfi:testsrc2'}\n"
    )
    done = derain("serve", "--check", path)
    assert done.returncode == 1
    assert f"a: {tmp_path}/none/a-%H.mkv: there is no folder" in done.stderr
    assert "; b: " in done.stderr and "nobody" in done.stderr
    assert "; c: env:NOPE: the environment has no variable NOPE" in done.stderr
    assert "; d: " not in done.stderr
    path.write_text("streams:\n  - {id: d, source: 'lavfi:testsrc2'}\n")
    done = derain("serve", "--check", path)
    assert (done.returncode, done.stdout) == (0, f"{path}: 1 stream, nothing wrong\n")
