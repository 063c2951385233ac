"""Where frames go: `open_sink(destination, …)` gives the right `Sink` for what the path names."""

from __future__ import annotations

from pipeline.frame import StreamInfo
from pipeline.sinks.destination import is_folder
from pipeline.sinks.options import EncodeOptions
from pipeline.sinks.sink import Sink

__all__ = ["EncodeOptions", "Sink", "open_sink"]


def open_sink(destination: str, info: StreamInfo, options: EncodeOptions, source: str = "") -> Sink:
    """Open a video file or a folder of pictures for writing.

    Args:
        destination: A video file, whose ending chooses the container; a picture; or else a folder of pictures: one that
            is there, or a name without an ending or with a slash at its end.
        info: The stream, as its source describes it.
        options: How to encode, and whether to replace what is there.
        source: Path of the file the frames come from, so that its other streams can be copied; "" for none.

    Raises:
        UsageError: What was asked for does not fit together.
        DerainError: The destination exists or cannot be written.
    """
    from pipeline.picture_names import is_picture
    from pipeline.sinks.pictures import PictureSink

    if is_folder(destination) or is_picture(destination):
        return PictureSink(destination.rstrip("/") or "/", info, options.overwrite, source)
    from pipeline.sinks.file import FileSink

    return FileSink(destination, info, options, source)
