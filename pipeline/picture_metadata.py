"""What a picture's file tells beside its pixels: EXIF, XMP, ICC profile, and the chunk of PNG that names its colours.

Read and written by OpenCV (JPEG, PNG, WebP) and, of TIFF, the ICC profile by tifffile. EXIF is passed on byte for byte,
but for the orientation: pictures are turned upright as they are read, so it becomes "upright".
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

_ORIENTATION = 0x0112
EXIF, XMP, ICC, CICP = 0, 1, 2, 3
"""OpenCV's numbers of the kinds (cv::ImageMetadataType)."""


@dataclass(frozen=True)
class Metadata:
    """Chunks by kind, without their containers' headers."""

    chunks: dict[int, bytes] = field(default_factory=dict)
    pictures: int = 1  # how many the file holds; the first is read
    moves: bool = False  # whether they are an animation

    @property
    def orientation(self) -> int:
        """How the stored picture has to be turned, as EXIF numbers it: 1 (as it is) to 8."""
        found = _find_orientation(self.chunks.get(EXIF, b""))
        return found[1] if found and 1 <= found[1] <= 8 else 1

    def upright(self) -> Metadata:
        """The same for the picture once it has been turned."""
        exif = self.chunks.get(EXIF, b"")
        found = _find_orientation(exif)
        if found is None or found[1] == 1:
            return self
        at, _, order = found
        turned = exif[:at] + struct.pack(order + "H", 1) + exif[at + 2 :]
        return replace(self, chunks=self.chunks | {EXIF: turned})


def _find_orientation(exif: bytes) -> tuple[int, int, str] | None:
    """Where the value lies, the value, and the byte order. EXIF is a TIFF file; the tag is in its first directory."""
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None or len(exif) < 8:
        return None
    (at,) = struct.unpack_from(order + "I", exif, 4)
    if at + 2 > len(exif):
        return None
    (count,) = struct.unpack_from(order + "H", exif, at)
    for entry in range(at + 2, min(at + 2 + 12 * count, len(exif) - 11), 12):
        tag, kind = struct.unpack_from(order + "HH", exif, entry)
        if tag == _ORIENTATION and kind == 3:
            return entry + 8, struct.unpack_from(order + "H", exif, entry + 8)[0], order
    return None


def turned(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """A stored picture as it is meant to be seen."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    down, across = {2: (1, -1), 3: (-1, -1), 4: (-1, 1), 6: (1, -1), 7: (-1, -1), 8: (-1, 1)}.get(orientation, (1, 1))
    return pixels[::down, ::across]


def read_picture(path: str) -> tuple[NDArray[Any] | None, Metadata]:
    """Pixels as OpenCV has them (BGR, BGRA or grey, uint8 or uint16), turned upright, and the metadata that fit them.

    None for a file that is no picture OpenCV knows. OSError where it cannot be read.
    """
    import cv2

    stored = np.fromfile(path, np.uint8)
    if not stored.size:
        return None, Metadata()
    jpeg = stored[:2].tobytes() == b"\xff\xd8"  # has neither alpha nor depth, but may be CMYK
    flags = (cv2.IMREAD_ANYCOLOR if jpeg else cv2.IMREAD_UNCHANGED) | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        read: Any = cv2.imdecodeWithMetadata(stored, flags=flags)
    except cv2.error:
        return None, Metadata()
    pixels, kinds, chunks = read
    if pixels is None:
        return None, Metadata()
    found = {int(kind): chunk.tobytes() for kind, chunk in zip(kinds, chunks, strict=True)}
    tiff = stored[:4].tobytes() in (b"II*\0", b"MM\0*")
    if tiff and (icc := _icc_of_tiff(path)):
        found[ICC] = icc
    metadata = Metadata(found, _pages_of_tiff(path) if tiff else _animation(stored), moves=not tiff)
    if tiff and pixels.ndim == 3 and pixels.shape[2] == 4 and pixels.dtype == np.uint8:
        pixels = _straight(path)  # OpenCV multiplies such colours by their transparency
    return turned(pixels, metadata.orientation), metadata.upright()


def _straight(path: str) -> NDArray[Any]:
    """BGRA of a TIFF as it is stored, by FFmpeg's decoder."""
    import av

    with av.open(f"file:{path}", format="tiff_pipe") as held:
        return np.asarray(next(held.decode(video=0)).to_ndarray(format="bgra"))


def _animation(stored: NDArray[np.uint8]) -> int:
    """How many pictures an animated PNG or WebP has, 1 for any other file."""
    data = memoryview(stored.data)
    if bytes(data[:8]) == b"\x89PNG\r\n\x1a\n":
        at = 8
        while at + 16 <= len(data) and (kind := bytes(data[at + 4 : at + 8])) != b"IDAT":
            if kind == b"acTL":
                return max(1, int.from_bytes(data[at + 8 : at + 12], "big"))
            at += 12 + int.from_bytes(data[at : at + 4], "big")
    elif bytes(data[:4]) == b"RIFF" and bytes(data[8:16]) == b"WEBPVP8X" and data[20] & 2:
        at, count = 12, 0
        while at + 8 <= len(data):
            count += bytes(data[at : at + 4]) == b"ANMF"
            length = int.from_bytes(data[at + 4 : at + 8], "little")
            at += 8 + length + length % 2
        return max(1, count)
    return 1


def _pages_of_tiff(path: str) -> int:
    """Previews of the picture, which many files have beside it, do not count."""
    from tifffile import TiffFile, TiffFileError, TiffPage

    try:
        with TiffFile(path) as held:
            return max(1, sum(not (isinstance(page, TiffPage) and page.is_reduced) for page in held.pages))
    except (TiffFileError, ValueError, IndexError, TypeError):
        return 1


def _icc_of_tiff(path: str) -> bytes:
    from tifffile import TiffFile, TiffFileError

    try:
        with TiffFile(path) as held:
            return bytes(held.pages.first.tags.valueof(34675, b""))
    except (TiffFileError, ValueError, IndexError):
        return b""


def can_write(name: str) -> bool:
    """Whether pictures whose names end so can be made here; those of EXR mostly not."""
    import cv2

    return bool(cv2.haveImageWriter(f"picture{name[name.rfind('.') :].lower()}"))


def encode_picture(name: str, pixels: NDArray[Any], metadata: Metadata, jpeg_quality: int) -> bytes | None:
    """A picture file whose kind the ending of `name` says, in BGR(A) or grey; None where OpenCV cannot make it."""
    import cv2

    ending = name[name.rfind(".") :].lower()
    if ending in (".tif", ".tiff") and ICC in metadata.chunks:
        return _tiff(pixels, metadata.chunks[ICC])
    options: list[int] = []
    if ending in (".jpg", ".jpeg"):
        options = [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality]
    elif ending == ".webp":
        options = [cv2.IMWRITE_WEBP_QUALITY, 101]  # above 100 is lossless
    kinds = [kind for kind in metadata.chunks if ending == ".png" or kind != CICP]
    pixels = np.ascontiguousarray(pixels)
    if kinds and ending in (".jpg", ".jpeg", ".png", ".webp"):
        chunks = [np.frombuffer(metadata.chunks[kind], np.uint8)[None] for kind in kinds]
        done, coded = cv2.imencodeWithMetadata(ending, pixels, kinds, chunks, options)
    else:
        done, coded = cv2.imencode(ending, pixels, options)
    return coded.tobytes() if done else None


def _tiff(pixels: NDArray[Any], icc: bytes) -> bytes:
    import io

    from tifffile import imwrite

    held = io.BytesIO()
    if pixels.ndim == 3:
        pixels = pixels[:, :, [2, 1, 0, 3][: pixels.shape[2]]]
    extra = ["unassalpha"] if pixels.ndim == 3 and pixels.shape[2] == 4 else None
    photometric = "rgb" if pixels.ndim == 3 else "minisblack"
    imwrite(held, pixels, photometric=photometric, extrasamples=extra, iccprofile=icc, compression="zlib")
    return held.getvalue()
