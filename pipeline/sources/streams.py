"""Opening a container, and which of its streams is the video to derain."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pipeline.codec_devices import decoding_on
from pipeline.errors import DerainError
from pipeline.sources.completeness import expected_size

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.stream import Stream
    from av.video.stream import VideoStream

_NOT_VIDEO = {"tty", "bin", "xbin", "adf", "idf"}
"""FFmpeg renders text files as pictures with these; nobody who names such a file means that."""

_KINDS = {stat.S_IFDIR: "folder", stat.S_IFIFO: "pipe", stat.S_IFSOCK: "socket"}


def open_container(path: str, partial: bool = False, device: str = "cpu") -> InputContainer:
    """Open a local file for reading.

    Args:
        path: The file. Always taken as a file name, never as a URL or a pattern.
        partial: Take a file whose end is missing as far as it goes.
        device: Where its video will be decoded (`pipeline.codec_devices`).

    Raises:
        DerainError: It is missing, empty, cut short or nothing FFmpeg knows.
    """
    import av

    try:
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode):
            raise DerainError(
                f"{path}: is no file but a {_KINDS.get(stat.S_IFMT(found.st_mode), 'device')}; name a file"
            )
        size = found.st_size
        with open(path, "rb"):
            pass
    except FileNotFoundError as error:
        raise DerainError(f"{path}: no such file; check the name") from error
    except OSError as error:
        raise DerainError(f"{path}: cannot be read ({error.strerror})") from error
    if size == 0:
        raise DerainError(f"{path}: is empty (0 bytes); copy or download it again")
    wanted = expected_size(path)
    if wanted > size and not partial:
        raise DerainError(
            f"{path}: is cut short, {size:,} of at least {wanted:,} bytes are there; copy or download it again"
        )
    with reading(path):
        container = av.open(f"file:{path}", metadata_errors="replace", hwaccel=decoding_on(device))
    if container.format.name in _NOT_VIDEO:
        container.close()
        raise DerainError(f"{path}: is not a video")
    return container


@contextmanager
def reading(path: str) -> Iterator[None]:
    """Turn FFmpeg's errors while a file is being opened or read into one line about that file."""
    import av.error

    try:
        yield
    except av.error.InvalidDataError as error:
        raise DerainError(f"{path}: is not a video FFmpeg can read, or it is damaged at its start") from error
    except (av.error.FFmpegError, OSError) as error:
        raise DerainError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from error


def ignore(stream: Stream) -> None:
    """Have the demuxer skip a stream's packets."""
    from av.stream import Discard

    stream.discard = Discard.all


def is_ignored(stream: Stream) -> bool:
    """Whether the demuxer skips a stream, because of `ignore` or by its own choice."""
    from av.stream import Discard

    return stream.discard == Discard.all


def is_cover(stream: Stream) -> bool:
    """Whether a video stream is a picture that belongs to the file (cover art, thumbnails), not the video."""
    from av.stream import Disposition

    return bool(stream.disposition & (Disposition.attached_pic | Disposition.timed_thumbnails))


def main_video(container: InputContainer, path: str) -> VideoStream:
    """The stream to derain: the one with most pixels a frame, the first of equals; cover art does not count.

    Raises:
        DerainError: There is none, or no decoder for it.
    """
    streams = [stream for stream in container.streams.video if not is_cover(stream)]
    if not streams:
        held = ", ".join(sorted({stream.type for stream in container.streams}))
        raise DerainError(f"{path}: holds no video" + (f", only {held}" if held else "; is it one?"))
    decodable = [stream for stream in streams if stream.codec_context is not None]
    if not decodable:
        raise DerainError(f"{path}: this build of FFmpeg has no decoder for its video")
    return max(decodable, key=lambda stream: stream.codec_context.width * stream.codec_context.height)
