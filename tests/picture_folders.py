"""Makes folders of pictures for tests."""

from __future__ import annotations

from pathlib import Path

import cv2

from tests.clips import planes_of


def write_pictures(folder: Path, names: list[str], size: tuple[int, int] = (24, 16)) -> Path:
    folder.mkdir(exist_ok=True)
    for index, name in enumerate(names):
        (rgb,) = planes_of(index, *size, "rgb24")
        cv2.imwrite(str(folder / name), rgb[:, :, ::-1])
    return folder
