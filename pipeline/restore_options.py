"""What a user may ask of the restoration: how much of the rain layer is removed, where, and what becomes of it."""

from __future__ import annotations

import os

import msgspec

from pipeline.errors import DerainError, Made, UsageError

STILL_STEPS = 3
"""How often a picture is shown to a streaming network, which then sees a clip that stands still.

Measured on Rain100L (PSNR on Y; 20 pictures `stream-nano`, 12 `stream`): 26.35 dB after one step, 26.41, 26.43, 26.43
after two, three, four; 27.13, 27.20, 27.22, 27.07. More steps bring nothing."""


class RestoreOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Checked by `check`, not here.

    Attributes:
        strength: Share of the rain layer that is removed, 0..1.
        region: A picture as large as the video, seen upright: white where to derain, black where not; "" for all.
        save_rain: A video file or folder for what was removed, centred on grey; "" for none.
        deinterlace: Whether interlaced video is made progressive; else its two fields are derained each by itself.
        strict: Whether the first frame that does not decode ends the job.
        max_memory: Megabytes that the derain stage may use; larger frames run in tiles. 0: no bound.
        still_steps: How often a picture that stands alone is shown to the network.
        eight_bit: Whether to bring the source to 8-bit 4:2:0 as it is read.
    """

    strength: float = 1.0
    region: str = ""
    save_rain: str = ""
    deinterlace: bool = False
    strict: bool = False
    max_memory: int = 0
    still_steps: int = STILL_STEPS
    eight_bit: bool = False


def check(options: RestoreOptions, destination: str, overwrite: bool) -> None:
    """What can be known to be wrong before anything is opened.

    Raises:
        UsageError: What was asked for cannot be meant.
        DerainError: The mask is not there, or the rain layer cannot be written.
    """
    if not 0 <= options.strength <= 1:
        raise UsageError(f"--strength {options.strength:g}: takes 0 (leave the rain) to 1 (remove all that is found)")
    if options.max_memory < 0:
        raise UsageError(f"--max-memory {options.max_memory}: takes megabytes, or 0 for no bound")
    if options.region and not os.path.isfile(options.region):
        raise DerainError(f"--region {options.region}: no such picture")
    rain = options.save_rain
    if not rain:
        return
    if os.path.abspath(rain) == os.path.abspath(destination):
        raise UsageError(f"--save-rain {rain}: is the destination itself; choose another name")
    folder = os.path.dirname(os.path.abspath(rain.rstrip("/")))
    if not os.path.isdir(folder):
        raise DerainError(f"--save-rain {rain}: there is no folder {folder}; make it first")
    from pipeline.segments import WorkFolder  # which knows jobs, and they these options

    if os.path.lexists(rain) and not overwrite and not WorkFolder(rain).is_placed():
        raise Made(f"--save-rain {rain}: exists already; choose another name or pass --overwrite")
