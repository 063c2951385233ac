"""Pictures over WebRTC (aiortc): one video of twice the height, before on top of after, so that the page's two halves
are always of the same frame.

The service offers its own addresses and asks no server of others (no STUN, no TURN): a browser that can reach the page
can reach the video, except through a proxy or a network that stops UDP; then the page takes MJPEG. See RFC 8445 for
what a browser does with the addresses, and RFC 8829 for offer and answer.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.errors import DerainError, UsageError
from pipeline.preview_feed import PreviewPair
from pipeline.service.pictures import Pictures
from pipeline.service.stream import Stream

if TYPE_CHECKING:
    from aiortc import RTCPeerConnection
    from av import VideoFrame

_CLOCK = 90_000
CONNECT_WITHIN = 15.0
"""Seconds that a browser has to connect before its place is given to another."""


class TooManyViewers(DerainError):
    """All places are taken."""


def need_aiortc() -> None:
    """DerainError where it is not installed."""
    try:
        import aiortc  # noqa: F401
    except ModuleNotFoundError as error:
        raise DerainError(
            f"WebRTC needs the serve extra ({error.name} is not installed): pip install 'derain[serve]', "
            "or set webrtc.enabled to false"
        ) from error


class WebRtcViewers:
    """Connections to browsers.

    Raises:
        DerainError: aiortc is not installed.
    """

    def __init__(self, pictures: Pictures, most: int) -> None:
        need_aiortc()
        self._pictures, self._most = pictures, most
        self._connections: set[RTCPeerConnection] = set()

    async def answer(self, stream: Stream, offer: Any) -> dict[str, str]:
        """Answer a browser's offer ({"sdp", "type"}) to receive a stream's pictures.

        Raises:
            TooManyViewers: All places are taken.
            NoPicture: The stream has no preview.
            UsageError: It is no offer, or one that does not take video.
        """
        from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

        self._pictures.check(stream)
        if len(self._connections) >= self._most:
            raise TooManyViewers(f"{self._most} viewers are connected over WebRTC already; use pair.mjpeg")
        if not isinstance(offer, dict) or offer.get("type") != "offer" or not isinstance(offer.get("sdp"), str):
            raise UsageError('a WebRTC offer is {"type": "offer", "sdp": "…"}')
        connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._connections.add(connection)
        track = _pair_track(self._pictures, stream)

        @connection.on("connectionstatechange")
        async def changed() -> None:
            if connection.connectionState in ("failed", "closed", "disconnected"):
                await self._close(connection)

        try:
            connection.addTrack(track)
            _prefer_h264(connection)
            await connection.setRemoteDescription(RTCSessionDescription(offer["sdp"], "offer"))
            await connection.setLocalDescription(await connection.createAnswer())
        except Exception as error:  # whatever aiortc makes of a wrong SDP; it has no error of its own for it
            await self._close(connection)
            raise UsageError(f"the WebRTC offer can't be answered ({type(error).__name__}: {error})") from error
        asyncio.get_running_loop().call_later(CONNECT_WITHIN, self._check_connected, connection)
        return {"type": connection.localDescription.type, "sdp": connection.localDescription.sdp}

    def _check_connected(self, connection: RTCPeerConnection) -> None:
        if connection in self._connections and connection.connectionState != "connected":
            self._closing = asyncio.create_task(self._close(connection))

    async def _close(self, connection: RTCPeerConnection) -> None:
        self._connections.discard(connection)
        with suppress(Exception):  # half-open transports fail in many ways; it is gone all the same
            await connection.close()

    async def close(self) -> None:
        """Leave all browsers."""
        await asyncio.gather(*(self._close(connection) for connection in list(self._connections)))


def _prefer_h264(connection: RTCPeerConnection) -> None:
    """H.264 first: at the same load aiortc's encoder for it is given twice the bits of the one for VP8."""
    from aiortc import RTCRtpSender

    codecs = RTCRtpSender.getCapabilities("video").codecs
    connection.getTransceivers()[0].setCodecPreferences(
        sorted(codecs, key=lambda codec: codec.mimeType != "video/H264")
    )


def _pair_track(pictures: Pictures, stream: Stream) -> Any:
    """A track of a stream's pairs."""
    from aiortc import MediaStreamTrack

    class PairTrack(MediaStreamTrack):
        kind = "video"

        def __init__(self) -> None:
            super().__init__()
            self._pairs = pictures.pairs(stream, "raw")
            self._began: float | None = None

        async def recv(self) -> VideoFrame:
            pair = await anext(self._pairs)
            frame = stacked(pair)
            now = asyncio.get_running_loop().time()
            self._began = now if self._began is None else self._began
            frame.pts, frame.time_base = int((now - self._began) * _CLOCK), Fraction(1, _CLOCK)
            return frame

    return PairTrack()


def stacked(pair: PreviewPair) -> VideoFrame:
    """A raw pair (two yuv420p pictures, width x height each) as one of width x 2·height, before on top."""
    from av import VideoFrame

    width, height = pair.header.width, pair.header.height
    rows, columns = (height + 1) // 2, (width + 1) // 2
    frame = VideoFrame(width, 2 * rows * 2, "yuv420p")
    luma, chroma = width * height, columns * rows
    for plane, (start, lines, wide) in zip(
        frame.planes, ((0, height, width), (luma, rows, columns), (luma + chroma, rows, columns)), strict=True
    ):
        out = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
        for half, pixels in enumerate((pair.before, pair.after)):
            block = np.frombuffer(pixels, np.uint8, lines * wide, start).reshape(lines, wide)
            out[half * lines : (half + 1) * lines, :wide] = block
    return frame
