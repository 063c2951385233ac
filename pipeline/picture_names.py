"""Which names are pictures'. Apart from what reads them, so that the front can ask without importing numpy: its threads
would forbid it to fork the stages (`pipeline.supervisor`)."""

from __future__ import annotations

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".exr")
"""Names of pictures end so, in small letters or capitals."""


def is_picture(path: str) -> bool:
    """Whether a name ends like a picture's."""
    return path.lower().endswith(ENDINGS)
