"""`derain stage`: processes that know each other by their keys, in network namespaces where root allows it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from shutil import which

import pytest

from tests.clips import make_clip
from tests.conftest import Derain
from tests.host_processes import WAIT, Stages, host_address, pictures, stages_in

FRAMES = 40


@pytest.fixture
def stages(tmp_path: Path) -> Iterator[Stages]:
    with stages_in(tmp_path) as made:
        yield made


@pytest.fixture
def address() -> Iterator[str]:
    with host_address() as url:
        yield url


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mkv"
    make_clip(path, frames=FRAMES, width=96, height=64)
    return path


def url_of(said: str) -> str:
    return said.partition("listening at ")[2].split()[0].rstrip(":")


def test_three_processes_with_keys_give_what_one_gives_and_strangers_get_nothing(
    tmp_path: Path, stages: Stages, clip: Path, derain: Derain
) -> None:
    """A stranger hung now and then: it wanted to tell the others why it left, over a connection that was refused."""
    for name in ("server", "decode", "encode", "stranger"):
        assert derain("keys", name).returncode == 0
    allowed = (tmp_path / "decode.public").read_text() + (tmp_path / "encode.public").read_text()
    (tmp_path / "allowed").write_text(allowed)
    server = stages.start(
        *("stage", "derain", "--listen", "tcp://127.0.0.1:*", "--key", "server.secret", "--allow", "allowed"),
        *("--model", "stream-nano", "--runtime", "eager", "--threads", "1", "--json"),
    )
    url = url_of(stages.hear(server, "listening at"))
    to = ("--connect", url, "--server-key", "server.public", "--json")
    stranger = stages.start("stage", "encode", "stolen.mkv", *to, "--key", "stranger.secret")
    encode = stages.start("stage", "encode", "out.mkv", *to, "--key", "encode.secret", "--codec", "ffv1")
    decode = stages.start("stage", "decode", clip, *to, "--key", "decode.secret")
    sent, written = stages.result(decode), stages.result(encode)
    assert (sent["frames"], written["frames"], written["resets"]) == (FRAMES, FRAMES, {"start": 1})
    assert stranger.wait(WAIT) == 1
    assert "does not know our key" in stages.said(stranger)
    assert not list(tmp_path.glob("*stolen*"))
    server.send_signal(signal.SIGTERM)
    served = stages.result(server)
    assert (served["streams"], served["frames"], served["failed"]) == (1, FRAMES, 0)
    done = derain(
        *("run", clip, "one.mkv", "--model", "stream-nano", "--runtime", "eager", "--threads", "1"),
        *("--codec", "ffv1", "--quiet"),
    )
    assert done.returncode == 0, done.stderr
    assert pictures(tmp_path / "out.mkv") == pictures(tmp_path / "one.mkv")


@pytest.mark.parametrize("victim", ["decode", "derain", "encode"])
def test_any_stage_may_be_killed_and_started_again(tmp_path: Path, stages: Stages, address: str, victim: str) -> None:
    """The file is long enough to be under way for a while; whoever is killed, it comes out whole."""
    make_clip(tmp_path / "long.mkv", frames=400, width=96, height=64)
    commands: dict[str, tuple[str, ...]] = {
        "derain": ("stage", "derain", "--listen", address, "--model", "identity", "--json"),
        "decode": ("stage", "decode", "long.mkv", "--connect", address, "--json"),
        "encode": ("stage", "encode", "out.mkv", "--connect", address, "--codec", "ffv1", "--json"),
    }
    running = {name: stages.start(*command) for name, command in commands.items()}
    stages.hear(running["derain"], "encode stage is here")
    stages.hear(running["derain"], "decode stage is here")
    os.kill(running[victim].pid, signal.SIGKILL)
    running[victim].wait()
    time.sleep(0.3)
    running[victim] = stages.start(*commands[victim])
    sent, written = stages.result(running["decode"]), stages.result(running["encode"])
    assert (sent["frames"], written["frames"]) == (400, 400)
    assert pictures(tmp_path / "out.mkv") == pictures(tmp_path / "long.mkv")
    leftover = [path.name for path in tmp_path.iterdir() if path.name.startswith(".") or "tmp" in path.name]
    assert victim == "encode" or not leftover


def test_several_streams_share_one_derain_stage(tmp_path: Path, stages: Stages, address: str) -> None:
    server = stages.start(
        *("stage", "derain", "--listen", address, "--model", "stream-nano", "--runtime", "eager", "--threads", "1"),
        *("--batch-wait", "200", "--json"),
    )
    stages.hear(server, "listening at")
    pairs = []
    for name, size in (("a", 64), ("b", 64), ("c", 96)):
        make_clip(tmp_path / f"{name}.mkv", frames=12, width=size, height=64)
        common = ("--connect", address, "--stream", name, "--json")
        decode = stages.start("stage", "decode", f"{name}.mkv", *common)
        pairs.append((decode, stages.start("stage", "encode", f"{name}-out.mkv", *common, "--codec", "ffv1")))
    for decode, encode in pairs:
        assert stages.result(decode)["frames"] == stages.result(encode)["frames"] == 12
    server.send_signal(signal.SIGTERM)
    served = stages.result(server)
    assert (served["streams"], served["frames"], served["resets"]) == (3, 36, {"start": 3})


def test_what_cannot_be_meant_is_said_in_one_line(tmp_path: Path, derain: Derain, clip: Path) -> None:
    """A playlist that goes on is no file that exists already."""
    (tmp_path / "cam.m3u8").touch()
    for args, code, text in (
        (("decode", clip, "--connect", "tcp://127.0.0.1:1"), 2, "--insecure-plain-tcp"),
        (("encode", "x.mkv", "--connect", "ftp://there"), 2, "tcp://HOST:PORT or ipc://PATH"),
        (("derain", "--listen", "tcp://127.0.0.1:*", "--key", "none.secret"), 1, "can't read the secret key"),
        (("derain", "--listen", "ipc:///tmp/x", "--model", "identity"), 1, "others can reach a socket there"),
        (("encode", clip, "--connect", "tcp://127.0.0.1:1", "--insecure-plain-tcp"), 1, "exists already"),
        (("encode", "x.mkv", "--codec", "none", "--connect", "ipc:///tmp/none"), 2, "has no such encoder"),
        (("encode", "none/x.mkv", "--connect", "ipc:///tmp/none"), 1, "there is no folder"),
        (("encode", "cam.m3u8", "--connect", "ipc:///tmp/none", "--patience", "0.5"), 1, "does a derain stage listen"),
        (("encode", "x.xyz", "--connect", "ipc:///tmp/none"), 2, "cannot tell a video container"),
        (("encode", "x.webm", "--connect", "ipc:///tmp/none"), 2, "cannot hold libx264"),
        (
            ("decode", clip, "--connect", "tcp://127.0.0.1:1", "--insecure-plain-tcp", "--patience", "0.5"),
            *(1, "does a derain stage listen there"),
        ),
    ):
        done = derain("stage", *args)
        assert (done.returncode, done.stdout) == (code, ""), done.stderr
        assert text in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr


@pytest.fixture
def hosts() -> Iterator[tuple[str, str, str]]:
    """Three network namespaces joined by a bridge in the second: 10.77.0.1, .2 and .3."""
    if os.geteuid() != 0 or which("ip") is None:
        pytest.skip("network namespaces need root and iproute2")
    names = tuple(f"derain-{os.getpid()}-{n}" for n in range(3))
    middle = names[1]

    def ip(*args: str) -> None:
        done = subprocess.run(["ip", *args], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"network namespaces can't be made here: ip {' '.join(args)}: {done.stderr.strip()}")

    try:
        for name in names:
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        ip("-n", middle, "link", "add", "bridge", "type", "bridge")
        ip("-n", middle, "addr", "add", "10.77.0.2/24", "dev", "bridge")
        ip("-n", middle, "link", "set", "bridge", "up")
        for number in (0, 2):
            wire = f"wire{number}"
            ip("-n", middle, "link", "add", wire, "type", "veth", "peer", "name", "eth", "netns", names[number])
            ip("-n", middle, "link", "set", wire, "master", "bridge", "up")
            ip("-n", names[number], "addr", "add", f"10.77.0.{number + 1}/24", "dev", "eth")
            ip("-n", names[number], "link", "set", "eth", "up")
        yield names  # type: ignore[misc]
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)


def test_three_hosts_with_a_wire_pulled_and_put_back(
    tmp_path: Path, stages: Stages, derain: Derain, hosts: tuple[str, str, str]
) -> None:
    """Heartbeats notice a wire that is pulled, which no socket tells; the stream goes on when it is back.

    The film is long: one of 1500 frames of 96×64 was once through before the wire was pulled.
    """
    make_clip(tmp_path / "long.mkv", frames=2500, width=256, height=144)
    for name in ("server", "client"):
        assert derain("keys", name).returncode == 0
    keys = ("--key", "server.secret", "--allow", "client.public")
    server = stages.start(
        "stage", "derain", "--listen", "tcp://10.77.0.2:5555", *keys, "--model", "identity", "--json", inside=hosts[1]
    )
    stages.hear(server, "listening at")
    to = ("--connect", "tcp://10.77.0.2:5555", "--key", "client.secret", "--server-key", "server.public", "--json")
    encode = stages.start("stage", "encode", "out.mkv", *to, "--codec", "ffv1", inside=hosts[2])
    decode = stages.start("stage", "decode", "long.mkv", *to, inside=hosts[0])
    stages.hear(server, "encode stage is here")
    stages.hear(server, "decode stage is here")
    subprocess.run(["ip", "-n", hosts[1], "link", "set", "wire0", "down"], check=True)
    stages.hear(decode, "lost the derain stage")
    subprocess.run(["ip", "-n", hosts[1], "link", "set", "wire0", "up"], check=True)
    sent, written = stages.result(decode), stages.result(encode)
    assert (sent["frames"], written["frames"]) == (2500, 2500)
    assert sent["reconnects"] == 1
    assert pictures(tmp_path / "out.mkv") == pictures(tmp_path / "long.mkv")
