"""Shape of pixels and rotation: what a container keeps of them, and what is told of the rest."""

from __future__ import annotations

from pipeline.frame import StreamInfo
from pipeline.sinks import containers

_MATROSKA = ("matroska", "webm")


def loses_shape(info: StreamInfo, muxer: str, codec: str) -> bool:
    """Whether the pixels' shape is not kept by itself."""
    plain = (info.sample_aspect_ratio or (1, 1)) in ((1, 1), (0, 1))
    return not plain and not containers.holds_pixel_shape(muxer, codec)


def shape_is_put(info: StreamInfo, muxer: str, codec: str) -> bool:
    """Whether it can be put into the finished file (`matroska_shape`). A rotation takes the same place."""
    turned = info.display_matrix or info.rotation
    return loses_shape(info, muxer, codec) and muxer in _MATROSKA and not turned


def not_kept(info: StreamInfo, muxer: str, codec: str) -> list[str]:
    """What is lost, one sentence each."""
    told = []
    if info.display_matrix and muxer not in containers.ROTATES:
        told.append(f"{muxer} cannot hold the rotation of {info.rotation} degrees; it is left out")
    if loses_shape(info, muxer, codec) and not shape_is_put(info, muxer, codec):
        across, down = info.sample_aspect_ratio or (1, 1)
        instead = ".mp4, or libx264 or libx265"
        if codec == "ffv1":
            instead = "libx264 or libx265" if muxer in _MATROSKA else ".mkv"
        told.append(
            f"pixels are {across}:{down}, which {muxer} does not keep with {codec}"
            f"{' beside a rotation' if muxer in _MATROSKA else ''}; use {instead}"
        )
    return told
