"""Why a live source can't be read, in a word and a sentence: what FFmpeg says of it is often something else."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import av
import pytest

from pipeline.sources.live import LiveSource, SourceLost
from pipeline.sources.live_address import live_address

pytestmark = [pytest.mark.alone, pytest.mark.timeout(60)]


def lost(url: str, seconds: float = 0.5) -> SourceLost:
    """How a source ends that is read as long as it goes."""
    address = live_address(url, stall_timeout=seconds)
    with (
        pytest.raises(SourceLost) as caught,
        LiveSource(url, address, open_timeout=seconds, stall_timeout=seconds, sound=False) as source,
    ):
        for _ in source:
            pass
    return caught.value


@contextmanager
def sending(*first: bytes, then: bool) -> Iterator[str]:
    """An address to which datagrams come: these, and then noise for as long as it lasts, or nothing."""
    stop = threading.Event()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind(("127.0.0.1", 0))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]

        def send() -> None:
            for data in first:
                sender.sendto(data, ("127.0.0.1", port))
                stop.wait(0.02)
            while not stop.wait(0.01):
                if then:
                    sender.sendto(os.urandom(1316), ("127.0.0.1", port))

        thread = threading.Thread(target=send)
        thread.start()
        try:
            yield f"udp://127.0.0.1:{port}"
        finally:
            stop.set()
            thread.join()


def film(tmp: str) -> list[bytes]:
    """Three seconds of MPEG-TS, in datagrams."""
    with av.open(tmp, "w", format="mpegts") as out:
        video = out.add_stream("mpeg2video", rate=25, options={"g": "5"})
        video.width, video.height = 96, 64
        for _ in range(75):
            out.mux(video.encode(av.VideoFrame(96, 64, "yuv420p")))
        out.mux(video.encode(None))
    with open(tmp, "rb") as file:
        data = file.read()
    return [data[at : at + 1316] for at in range(0, len(data), 1316)]


def test_a_camera_that_takes_the_connection_and_says_nothing() -> None:
    """It was told as "no video that FFmpeg can read (Invalid data found …)"; nothing came at all."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(2)
        error = lost(f"rtsp://127.0.0.1:{silent.getsockname()[1]}/cam")
    assert (error.reason, str(error).partition("cam: ")[2]) == ("timeout", "no answer in time; is it on?")


def test_an_answer_that_is_no_rtsp_is_still_told_as_such() -> None:
    with socket.socket() as web:
        web.bind(("127.0.0.1", 0))
        web.listen(2)

        def answer() -> None:
            with web.accept()[0] as connection:
                connection.recv(1000)
                connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        error = lost(f"rtsp://127.0.0.1:{web.getsockname()[1]}/cam", 30.0)
        thread.join()
    assert error.reason in ("garbage", "closed", "unreachable")


def test_noise_over_udp_is_not_told_as_silence() -> None:
    """Datagrams without MPEG-TS in them were "nothing came for too long", or "no answer in time; is it on?"."""
    with sending(then=True) as url:
        error = lost(url)
    assert (error.reason, str(error)) == ("garbage", f"{url}: what comes is no video that FFmpeg can read")


@pytest.mark.parametrize(("then", "reason"), [(True, "garbage"), (False, "stalled")])
def test_udp_that_turns_to_noise_or_silence(tmp_path_factory: pytest.TempPathFactory, then: bool, reason: str) -> None:
    datagrams = film(str(tmp_path_factory.mktemp("film") / "a.ts"))
    with sending(*datagrams, then=then) as url:
        error = lost(url, 2.0)
    assert error.reason == reason
    assert "Immediate exit requested" not in str(error)
