"""What a live stream shows of itself: pairs of pictures, before and after, published on an ipc socket.

The stream binds an XPUB socket; whoever shows the pictures connects a `PreviewReader`. Nothing is scaled, coded or sent
while nobody is subscribed, and a reader that is slow misses pairs, it never slows the stream. A pair is three parts
behind its topic: a `PreviewHeader`, the picture before and the picture after.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from fractions import Fraction
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self, TypeAlias

import msgspec
import zmq

from pipeline.colour import is_full_range, swscale_matrix
from pipeline.errors import DerainError
from pipeline.frame import Frame, StreamInfo

if TYPE_CHECKING:
    from av import VideoFrame

PreviewKind: TypeAlias = Literal["jpeg", "raw"]
"""jpeg: two JPEG files. raw: the planes Y, U, V of two 8-bit yuv420p pictures of limited range, tightly packed."""

_QUALITY = 80
_WAITING = 2
"""Pairs that may wait for a reader before it misses some."""


class PreviewHeader(msgspec.Struct, frozen=True, kw_only=True):
    """Of one pair."""

    width: int  # of each picture, even
    height: int
    number: int  # of the pair, from 0
    pts: float  # seconds on the output clock
    read_at: float  # when the frame was read, on this machine's monotonic clock
    derained: bool = True  # False: the after is the before (passed on, or no network)


@dataclass(frozen=True, slots=True)
class PreviewPair:
    """Header and the two pictures, as `PreviewKind` says."""

    header: PreviewHeader
    before: bytes
    after: bytes


class PreviewFeed:
    """The stream's end.

    Args:
        url: ipc:// address to bind.
        width: Pixels that pictures are scaled down to; smaller ones stay.
        fps: Pairs a second at most.

    Raises:
        DerainError: The address can't be bound.
    """

    def __init__(self, url: str, width: int = 960, fps: float = 12.5) -> None:
        self._width, self._step = width, 1 / fps
        self._due = 0.0
        self._number = 0
        self._wanted: dict[bytes, int] = {}
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.XPUB)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.set_hwm(_WAITING)
        self._socket.setsockopt(zmq.XPUB_VERBOSER, 1)  # says so too where one of two readers leaves
        try:
            self._socket.bind(url)
        except zmq.ZMQError as error:
            self._socket.close()
            raise DerainError(f"the preview can't be bound to {url}: {error}") from error

    def wanted(self) -> set[PreviewKind]:
        """What is subscribed to and due now; empty most of the time, and cheap to ask."""
        while True:
            try:
                said = self._socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                break
            topic = said[1:]
            self._wanted[topic] = max(0, self._wanted.get(topic, 0) + (1 if said[:1] == b"\1" else -1))
        if time.monotonic() < self._due:
            return set()
        kinds: set[PreviewKind] = set()
        if self._wanted.get(b"jpeg"):
            kinds.add("jpeg")
        if self._wanted.get(b"raw"):
            kinds.add("raw")
        return kinds

    def show(self, before: Frame, after: Frame, info: StreamInfo, kinds: set[PreviewKind], derained: bool) -> None:
        """Publish a pair.

        Args:
            before: As it was read.
            after: As it goes on; the same size.
            info: The stream, for its colours.
            kinds: What `wanted` said.
            derained: Whether the network has seen it.
        """
        now = time.monotonic()
        self._due = max(self._due + self._step, now)  # evenly, and no burst after a pause
        pictures = [self._scaled(frame, info) for frame in (before, after)]
        header = PreviewHeader(
            width=pictures[0].width,
            height=pictures[0].height,
            number=self._number,
            pts=float(before.header.pts * Fraction(*info.time_base)),
            read_at=before.header.read_at,
            derained=derained,
        )
        self._number += 1
        for kind in sorted(kinds):
            coded = [_jpeg(picture) if kind == "jpeg" else _raw(picture) for picture in pictures]
            self._socket.send_multipart([kind.encode(), msgspec.msgpack.encode(header), *coded], zmq.NOBLOCK)

    def close(self) -> None:
        self._socket.close()

    def _scaled(self, frame: Frame, info: StreamInfo) -> VideoFrame:
        from pipeline.colour import FULL, LIMITED
        from pipeline.pixels import convert, is_rgb, unpack

        header = frame.header
        width = min(self._width, header.width) // 2 * 2
        height = max(2, round(header.height * width / header.width / 2) * 2)
        made = unpack(frame.pixels, header.pixel_format, header.width, header.height)
        full = is_rgb(header.pixel_format) or is_full_range(info)
        if header.pixel_format == "yuv420p" and not full and (width, height) == (header.width, header.height):
            return made
        matrix = swscale_matrix(info.colorspace, header.height)
        return convert(
            made,
            "yuv420p",
            matrix,
            range_in=FULL if full else LIMITED,
            range_out=LIMITED,
            size=(width, height),
        )


class PreviewReader:
    """The end of whoever shows the pictures.

    >>> with PreviewReader("ipc:///run/derain/cam1.preview") as reader:
    ...     pair = reader.read(timeout=1.0)

    Args:
        url: The address the stream is bound to; it may come later.
        kind: What to ask for.
    """

    def __init__(self, url: str, kind: PreviewKind = "jpeg") -> None:
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.SUB)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.set_hwm(_WAITING)
        self._socket.setsockopt(zmq.RECONNECT_IVL, 100)
        self._socket.connect(url)
        self._socket.subscribe(kind.encode())

    def read(self, timeout: float | None = None) -> PreviewPair | None:
        """The next pair; None after `timeout` seconds. DerainError for bytes that are no pair."""
        if not self._socket.poll(None if timeout is None else int(timeout * 1000)):
            return None
        return unpack_pair(self._socket.recv_multipart())

    def fileno(self) -> int:
        """For event loops; see ZMQ_FD about when it signals. `zmq.asyncio` users call `unpack_pair` themselves."""
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def unpack_pair(parts: list[bytes]) -> PreviewPair:
    """A pair from the parts of its message (topic, header, before, after). DerainError for bytes that are none."""
    try:
        _topic, header, before, after = parts
        return PreviewPair(msgspec.msgpack.decode(header, type=PreviewHeader), before, after)
    except (ValueError, msgspec.DecodeError, msgspec.ValidationError) as error:
        raise DerainError(f"a preview picture can't be read ({error}); run one version of derain") from error


def _jpeg(picture: VideoFrame) -> bytes:
    """JPEG through OpenCV, whose BGR is the full range that JPEG wants."""
    import cv2

    done, coded = cv2.imencode(".jpg", picture.to_ndarray(format="bgr24"), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    assert done
    return bytes(coded)


def _raw(picture: VideoFrame) -> bytes:
    from pipeline.pixels import pack

    return pack(picture, full_range=False).tobytes()
