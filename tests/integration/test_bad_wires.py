"""A bad wire between a camera and a live run, and between stages on several hosts: slow, stalled, cut, truncated."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.hosts.doors import ClientDoor, ServerDoor
from tests.host_stages import Encode, Server, check, decode, until
from tests.live_camera import Camera
from tests.live_run import LiveRun, accounted, frames_of, pts_of
from tests.proxy import Proxy
from tests.running import Running

pytestmark = [pytest.mark.alone, pytest.mark.timeout(300)]


def test_a_camera_behind_a_bad_wire(tmp_path: Path) -> None:
    """Late is not lost; what stalls, is cut or breaks off in a packet is, once each, and the recording goes on."""
    film = tmp_path / "film.mkv"
    with Camera() as camera:
        wire = Proxy(camera.url)
        with LiveRun(tmp_path, wire.url, [str(film)], stall_timeout=2.0, open_timeout=4.0) as run:
            run.running()
            wire.delay = 0.3
            run.more(20)
            wire.delay = 0.0
            assert run.status.reconnects == 0
            for reconnects, how in enumerate(("stalled", "cut", "truncated"), 1):
                if how == "stalled":
                    wire.stalled = True
                    run.wait(lambda status: status.state == "lost")
                    wire.stalled = False
                elif how == "cut":
                    wire.cut()
                else:
                    wire.truncate(1500)
                run.wait(lambda status, times=reconnects: status.reconnects >= times and status.state == "running")
                run.more()
            status = run.stop()
        wire.close()
    assert accounted(status)
    assert status.reconnects == 3
    times = pts_of(film)
    assert times == sorted(set(times))
    assert frames_of(film) == status.frames_written + status.frames_filled


@pytest.mark.parametrize("where", ["decode", "encode"])
@pytest.mark.parametrize("how", ["delayed", "stalled", "cut", "truncated"])
def test_hosts_joined_by_a_bad_wire_lose_and_double_nothing(where: str, how: str) -> None:
    """A stalled wire is only noticed by heartbeats; the others by the end of the connection, within a message."""
    server = Server(ServerDoor("tcp://127.0.0.1:*", plain=True))
    wire = Proxy(server.url)
    doors = {name: ClientDoor(wire.url if name == where else server.url, plain=True) for name in ("decode", "encode")}
    count = 150
    wire.delay = 0.02 if how == "delayed" else 0.0
    sending = Running(lambda: decode(doors["decode"], "cam", count))
    encoding = Running(lambda: Encode(doors["encode"], "cam", pause=0.01))
    until(lambda: server.served.frames >= 20)
    if how == "stalled":
        wire.stalled = True
        until(lambda: any("gone" in line or "again" in line for line in server.said) or wire.connections > 1)
        wire.stalled = False
    elif how == "cut":
        wire.cut()
    elif how == "truncated":
        wire.truncate(2000)
    encoded = encoding.outcome()
    sent = sending.outcome()
    assert isinstance(encoded, Encode)
    assert encoded.done
    check(encoded.frames, count)
    reconnects = sent.reconnects if where == "decode" else encoded.reconnects  # type: ignore[attr-defined]
    assert (reconnects >= 1) == (how != "delayed")
    server.stop()
    wire.close()
