"""Membranes that lie in bfloat16 between two steps, in which half as much memory is read and written for them.

NumPy has no such type: they are held as its bits, unsigned 16-bit integers. They are rounded as currents between layers
are in that arithmetic. What it gains in speed, and that it changes quality by 0.02 dB at most on the development clips:
`docs/benchmarks.md`, "Membranes in bfloat16".
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import torch
from torch import Tensor

BITS = np.uint16
Array = np.ndarray[Any, Any]


def carried_as_bits(model: Any, openvino: Any, places: Collection[int], first: int) -> Any:
    """`model` whose inputs `first` + i and outputs `first` + i are bfloat16 for each i of `places`."""
    changed = openvino.preprocess.PrePostProcessor(model)
    for place in places:
        changed.input(first + place).tensor().set_element_type(openvino.Type.bf16)
        changed.output(first + place).tensor().set_element_type(openvino.Type.bf16)
    return changed.build()


def zeros(shape: tuple[int, ...], as_bits: bool) -> Array:
    return np.zeros(shape, BITS if as_bits else np.float32)


def read(array: Array) -> Tensor:
    """A copy, float32."""
    if array.dtype == BITS:
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16).float()
    return torch.from_numpy(array.copy())


def write(array: Array, tensor: Tensor) -> None:
    """`tensor`, float32, into `array`, rounded to what that holds."""
    if array.dtype == BITS:
        array[...] = tensor.to(torch.bfloat16).contiguous().view(torch.int16).numpy().view(BITS)
    else:
        array[...] = tensor.numpy()
