"""Says in every run of the suite whether the tests that need a GPU were among it."""

from __future__ import annotations

import pytest
import torch

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU that PyTorch can use on this machine"),
]


def test_the_gpu_computes_what_the_processor_does() -> None:
    picture = torch.rand(1, 8, 32, 32, generator=torch.Generator().manual_seed(0))
    kernel = torch.rand(8, 8, 3, 3, generator=torch.Generator().manual_seed(1))
    expected = torch.nn.functional.conv2d(picture.double(), kernel.double())
    found = torch.nn.functional.conv2d(picture.cuda().double(), kernel.cuda().double()).cpu()
    torch.testing.assert_close(found, expected)
