"""The shape of a streaming network (`streaming.py`)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StreamConfig:
    """Shape of a StreamNet. JSON-able; kept in the metadata of its weights."""

    dims: tuple[int, int, int] = (24, 48, 96)  # channels at half, quarter and eighth size
    encoder_blocks: tuple[int, int, int] = (1, 1, 2)
    decoder_blocks: tuple[int, int] = (1, 1)  # at quarter, at half size
    spike_levels: int = 8  # D, spikes a step at most
    threshold: float = 0.5  # of every neuron before it learns its own, in standard deviations of its current
    carried_levels: tuple[int, ...] = (2, 3)  # 1 half, 2 quarter, 3 eighth size
    attention: bool = False  # channel attention after each block at eighth size
    align: bool = True  # move the past along the motion before it is used
    carry_picture: bool = True  # read-out neurons keep their potential
    contrast: bool = True  # compressed local and temporal contrast beside the picture at the stem
    trust: bool = True  # forget where the past does not fit, whatever the network would do
    seen: bool = False  # the last rainy frame is carried beside the last clean one

    def __post_init__(self) -> None:
        for name in ("dims", "encoder_blocks", "decoder_blocks", "carried_levels"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if min(self.dims) < 1 or len(self.dims) != 3 or len(self.encoder_blocks) != 3 or len(self.decoder_blocks) != 2:
            raise ValueError("a StreamNet has three dims, three encoder and two decoder block counts")
