"""Makes small video files for tests, through PyAV alone; `tests.facts` reads back what a file holds.

>>> make_clip("vfr.mp4", pts=[100, 140, 260], time_base=Fraction(1, 1000))   # three frames, irregular, not from 0
>>> make_clip("all.mkv", sound=[Sound(seconds=1)], subtitles=[(0.1, 0.4, "Rain")], metadata={"title": "A"})
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

FULL_RANGE_709 = {"color_range": 2, "color_primaries": 1, "color_trc": 1, "colorspace": 1}

_QUICK = {
    "libx264": {"preset": "ultrafast", "crf": "20", "bf": "0"},
    "libx265": {"preset": "ultrafast", "x265-params": "log-level=none"},
    "libsvtav1": {"preset": "11", "crf": "40"},
    "libvpx-vp9": {"cpu-used": "8", "deadline": "realtime"},
}
B_FRAMES = {"preset": "veryfast", "bf": "2", "b-adapt": "0"}
"""Options with which libx264 reorders frames."""


@dataclass
class Sound:
    """One sound stream: how long, in which codec, and where it starts."""

    seconds: float = 1.0
    codec: str = "aac"
    start: float = 0.0
    metadata: dict[str, str] = field(default_factory=dict)
    disposition: int = 0


def planes_of(index: int, width: int, height: int, pixel_format: str = "yuv420p") -> list[NDArray[np.uint8]]:
    """The picture of frame `index`: diagonal bands that move, colours that slide. Every frame differs."""
    y, x = np.mgrid[0:height, 0:width]
    luma = (40 + (x * 2 + y + 7 * index) % 160).astype(np.uint8)
    if pixel_format == "gray":
        return [luma]
    if pixel_format == "rgb24":
        return [np.dstack([luma, np.roll(luma, 5, 0), np.roll(luma, 9, 1)])]
    step_x, step_y = {"yuv420p": (2, 2), "yuv422p": (2, 1), "yuv444p": (1, 1)}[pixel_format]
    chroma = (-(-height // step_y), -(-width // step_x))
    return [luma, np.full(chroma, (100 + index) % 256, np.uint8), np.full(chroma, (150 - index) % 256, np.uint8)]


def make_clip(
    path: str | Path,
    *,
    frames: int = 10,
    width: int = 64,
    height: int = 48,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    rate: int | Fraction = 25,
    time_base: Fraction | None = None,
    pts: Sequence[int] | None = None,
    options: dict[str, str] | None = None,
    tags: dict[str, int] | None = None,
    sample_aspect_ratio: Fraction | None = None,
    rotation: int = 0,
    sound: Sequence[Sound] = (),
    subtitles: Sequence[tuple[float, float, str]] = (),
    chapters: Sequence[tuple[int, int, str]] = (),
    attachment: bytes = b"",
    cover: bool = False,
    metadata: dict[str, str] | None = None,
    video_metadata: dict[str, str] | None = None,
    muxer: dict[str, str] | None = None,
) -> Path:
    """Write a file.

    Args:
        path: Its ending chooses the container.
        frames: How many, if `pts` does not say.
        width: Pixels.
        height: Pixels.
        codec: An encoder of FFmpeg.
        pixel_format: One `planes_of` knows.
        rate: Frames a second, for the encoder and (without `pts`) for the timestamps.
        time_base: Seconds a tick; default one frame.
        pts: Timestamp of each frame, in ticks.
        options: For the encoder.
        tags: Attributes of the codec context: color_range, color_primaries, color_trc, colorspace.
        sample_aspect_ratio: Shape of a pixel.
        rotation: Degrees, counter-clockwise, in the display matrix.
        sound: Sound streams.
        subtitles: Start, end (seconds) and text of each; .mkv only.
        chapters: Start, end (milliseconds) and title of each.
        attachment: Bytes of a file to attach; .mkv only.
        cover: Add a PNG as cover art; .mp4 only.
        metadata: Of the container.
        video_metadata: Of the video stream.
        muxer: Options for the container.
    """
    path = Path(path)
    rate = Fraction(rate)
    time_base = time_base or 1 / rate
    if pts is None:
        pts = [round(n / rate / time_base) for n in range(frames)]
    container_options = dict(muxer or {})
    if path.suffix in (".mp4", ".mov"):
        container_options.setdefault("video_track_timescale", str(time_base.denominator))
        container_options.setdefault("movie_timescale", str(time_base.denominator))
    out = av.open(str(path), "w", container_options=container_options)
    video = out.add_stream(codec, rate=rate, options=_QUICK.get(codec, {}) | (options or {}))
    context = video.codec_context
    context.width, context.height, context.pix_fmt = width, height, pixel_format
    context.time_base = video.time_base = time_base
    context.thread_count = 1
    for name, value in (tags or {}).items():
        setattr(context, name, value)
    if sample_aspect_ratio:
        context.sample_aspect_ratio = sample_aspect_ratio
    if rotation:
        video.set_display_rotation(rotation)
    video.metadata.update(video_metadata or {})
    sounds = [_add_sound(out, one) for one in sound]
    texts = out.add_mux_stream("subrip", time_base=Fraction(1, 1000)) if subtitles else None
    picture = out.add_stream("png", rate=1, width=16, height=16) if cover else None
    if picture:
        picture.codec_context.pix_fmt = "rgb24"
        picture.disposition = 0x400
    if attachment:
        out.add_attachment("notes.txt", "text/plain", attachment)
    out.metadata.update(metadata or {})
    if chapters:
        out.set_chapters(
            [
                {"id": n, "start": a, "end": b, "time_base": Fraction(1, 1000), "metadata": {"title": title}}
                for n, (a, b, title) in enumerate(chapters)
            ]
        )
    packets = []
    for index, at in enumerate(pts):
        frame = filled_frame(planes_of(index, width, height, pixel_format), pixel_format)
        frame.pts, frame.time_base = at, time_base
        for name, value in (tags or {}).items():
            setattr(frame, name, value)
        packets += video.encode(frame)
    packets += video.encode(None)
    for one, stream in zip(sound, sounds, strict=True):
        packets += _tone(one, stream)
    for start, end, text in subtitles:
        packets.append(_text(texts, start, end, text))
    if picture:
        frame = filled_frame(planes_of(0, 16, 16, "rgb24"), "rgb24")
        frame.pts = 0
        packets += picture.encode(frame)
    packets.sort(key=lambda packet: packet.dts * packet.time_base)
    out.mux(packets)
    out.close()
    return path


def filled_frame(planes: list[NDArray[np.uint8]], pixel_format: str) -> av.VideoFrame:
    """A frame of FFmpeg's with these samples."""
    height, width = planes[0].shape[:2]
    frame = av.VideoFrame(width, height, pixel_format)
    for plane, values in zip(frame.planes, planes, strict=True):
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
        rows[: values.shape[0], : values[0].size] = values.reshape(values.shape[0], -1)
    return frame


def _add_sound(out: Any, one: Sound) -> Any:
    stream = out.add_stream(one.codec, rate=48000)
    stream.metadata.update(one.metadata)
    stream.disposition = one.disposition
    return stream


def _tone(one: Sound, stream: Any) -> list[Any]:
    size = stream.codec_context.frame_size or 1024
    layout = stream.codec_context.layout.name
    packets = []
    for n in range(max(1, round(one.seconds * 48000 / size))):
        wave = np.sin(np.arange(n * size, (n + 1) * size) * (440 * 2 * np.pi / 48000)).astype(np.float32) / 4
        frame = av.AudioFrame.from_ndarray(np.stack([wave, wave]), format="fltp", layout=layout)
        frame.sample_rate, frame.time_base = 48000, Fraction(1, 48000)
        frame.pts = round(one.start * 48000) + n * size
        packets += stream.encode(frame)
    return packets + stream.encode(None)


def _text(stream: Any, start: float, end: float, text: str) -> Any:
    packet = av.Packet(text.encode())
    packet.stream, packet.time_base = stream, Fraction(1, 1000)
    packet.pts = packet.dts = round(start * 1000)
    packet.duration = round((end - start) * 1000)
    return packet
