"""Where frames come from: `open_source(path)` gives the right `Source` for what the path names."""

from __future__ import annotations

import os

from pipeline.errors import UsageError
from pipeline.sources.source import Source

__all__ = ["Source", "open_source"]


def open_source(
    path: str, *, threads: int = 0, partial: bool = False, native: bool = False, deinterlace: bool = False,
    strict: bool = False, device: str = "cpu",
) -> Source:  # fmt: skip
    """Open a video file, a folder of pictures or one picture.

    Args:
        path: The file or folder.
        threads: Decoder threads; 0 lets FFmpeg take one per core.
        partial: Decode a file whose end is missing as far as it goes, instead of refusing it.
        native: Keep depth, chroma, RGB and alpha (see `pipeline.formats`); else frames are 8 bit, 4:2:0, grey or RGB.
        deinterlace: Make progressive frames of interlaced ones.
        strict: End with an error at the first frame that does not decode, or not whole.
        device: Where to decode a file (`pipeline.codec_devices`); pictures are decoded on the processor.

    Raises:
        DerainError: It cannot be read; the text says why and what to do.
        UsageError: It is a network address.
    """
    if "://" in path and not os.path.exists(path):
        from pipeline.redact import redact
        from pipeline.sources.live_address import is_live_source

        if is_live_source(path):
            raise UsageError(f"{redact(path)}: is a network address; this command reads files and folders")
        raise UsageError(f"{redact(path)}: is no file, and no kind of stream that can be read")
    from pipeline.picture_names import is_picture
    from pipeline.sources.pictures import PictureSource

    if os.path.isdir(path) or (os.path.isfile(path) and is_picture(path)):
        return PictureSource(path, native)
    from pipeline.sources.file import FileSource

    return FileSource(
        path, threads=threads, partial=partial, native=native, deinterlace=deinterlace, strict=strict, device=device
    )
