"""Training on a GPU: both kinds of network, in every precision, resumed."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from training.run_config import RunConfig
from training.train import train

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU that PyTorch can use on this machine"),
]
NETWORKS = {
    "stream": {"dims": [8, 8, 8], "encoder_blocks": [0, 1, 1], "decoder_blocks": [1, 1]},
    "esdnet": {"kind": "esdnet", "dim": 8, "encoder_blocks": [1, 1, 1], "decoder_blocks": [1, 1], "time_steps": 2},
}


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("kind", NETWORKS)
def test_a_few_steps_on_the_gpu(tmp_path: Path, kind: str, precision: str) -> None:
    rng = np.random.default_rng(0)
    for side in ("rainy", "clean"):
        (tmp_path / side).mkdir()
        for number in range(4):
            cv2.imwrite(str(tmp_path / side / f"{number}.png"), rng.integers(0, 256, (48, 64, 3), dtype=np.uint8))
    run = {
        "name": "gpu",
        "folder": str(tmp_path / "runs"),
        "device": "cuda",
        "precision": precision,
        "network": NETWORKS[kind],
        "data": {"pairs": [{"path": str(tmp_path)}], "crop": 32, "window": 2, "windows": 2, "batch": 2},
        "optim": {"steps": 4, "warmup": 1},
    }
    lines: list[str] = []
    assert np.isfinite(train(RunConfig.model_validate(run), report=lines.append, stop_after=0.0))
    assert np.isfinite(train(RunConfig.model_validate(run), report=lines.append))
    assert "gpu: goes on at step 1 of 4" in lines
