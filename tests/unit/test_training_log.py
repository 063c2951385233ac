"""What a run tells: a layer in trouble is told once, and the residual is grey where nothing was taken away."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from esdnet.firing import FiringRate
from training.training_log import TrainingLog


def rates(share: float) -> dict[str, FiringRate]:
    rate = FiringRate()
    rate.add((torch.arange(10_000) < share * 10_000).float())
    return {"down1.lif": rate}


def test_a_layer_in_trouble_is_told_once_until_it_recovers(tmp_path: Path) -> None:
    log = TrainingLog(tmp_path, 0)
    told = [log.firing(step, rates(share)) for step, share in enumerate([0.0005, 0.0, 0.2, 0.0, 0.99])]
    log.close()
    assert told[0] == ["warning: step 0: layer down1.lif is dead: 0.05% of its neurons fire"]
    assert told[1] == told[2] == []
    assert "dead" in told[3][0]
    assert "layer down1.lif is saturated: 99.00%" in told[4][0]


def test_the_residual_is_grey_where_nothing_was_taken_away(tmp_path: Path) -> None:
    rainy = torch.full((1, 3, 8, 8), 0.5)
    derained = rainy.clone()
    derained[..., :4] -= 0.25  # a bright streak was on the left
    log = TrainingLog(tmp_path, 0)
    log.pictures(7, rainy, derained, derained)
    log.close()
    events = EventAccumulator(str(tmp_path)).Reload()
    (event,) = events.Images("pictures/residual")
    assert event.step == 7
    picture = cv2.imdecode(np.frombuffer(event.encoded_image_string, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert np.all(picture[:, 4:] == 127) and np.all(picture[:, :4] == 191)
