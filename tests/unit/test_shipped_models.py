"""The named models: cards that tell the truth, weights within their budget, dry pictures left alone."""

import cv2
import numpy as np
import pytest
from skimage import data

import esdnet
from esdnet import Derainer, models
from esdnet.complexity import complexity
from esdnet.errors import ModelError
from esdnet.streaming import StreamNet

BUDGETS = {"stream": 32.0, "stream-nano": 5.0}  # kMAC a pixel and frame, design.md


def _left(name: str, shown: np.ndarray, frames: int = 4) -> list[float]:
    """What the model leaves of a picture that stands: dB, frame by frame."""
    derainer = Derainer(name, threads=1)
    errors = [np.mean((np.asarray(derainer(shown)).astype(float) - shown) ** 2) for _ in range(frames)]
    return [float(10 * np.log10(255**2 / max(error, 1e-9))) for error in errors]


@pytest.mark.parametrize("name", models.names())
def test_every_model_has_a_card(name: str) -> None:
    card = models.card(name)
    for key in ("description", "parameters", "licence", "data"):
        assert card[key], key
    assert len(card["text"]) > 200


@pytest.mark.parametrize("name", BUDGETS)
def test_shipped_weights_are_what_the_card_says_and_within_budget(name: str) -> None:
    network = esdnet.load(name)
    assert isinstance(network, StreamNet)
    cost = complexity(network)
    card = models.card(name)
    assert cost.parameters == card["parameters"]
    assert cost.kmacs_per_pixel == pytest.approx(card["kmacs_per_pixel"], abs=0.01)
    assert cost.kmacs_per_pixel <= BUDGETS[name]


@pytest.mark.parametrize(
    ("name", "picture"),
    [(name, picture) for name in BUDGETS for picture in ("chelsea", "astronaut", "rocket", "coffee")],
)
def test_a_dry_picture_that_stands_stays_as_it_is(name: str, picture: str) -> None:
    """Weights trained on small crops alone took the bright rim of coffee's cup for a streak: 36.9 dB."""
    dry = getattr(data, picture)()[:256, :320]
    assert _left(name, dry, 6)[-1] >= 40


@pytest.mark.parametrize("name", BUDGETS)
def test_text_over_a_dry_picture_stays(name: str) -> None:
    """Weights trained without a letter took bars and thin letters for streaks, boxed or not: 20 dB."""
    derainer = Derainer(name, threads=1)
    for second in range(6):
        shown = data.coffee()[100:292, 100:420].copy()
        shown[152:178, 8:250] = 16
        for line in (24, 170):
            place, font = (12, line), cv2.FONT_HERSHEY_DUPLEX
            cv2.putText(shown, f"||| iIl1 | {second} | lil", place, font, 0.55, (235, 235, 235), 1, cv2.LINE_AA)
        out = np.asarray(derainer(shown)).astype(float)
        lost = [out[rows, 8:250] - shown[rows, 8:250] for rows in (slice(6, 32), slice(152, 178))]
        if second:
            assert 10 * np.log10(255**2 / np.mean(np.square(lost))) >= 42


@pytest.mark.parametrize("name", BUDGETS)
def test_a_railing_stays(name: str) -> None:
    """Bars all alike at even distances went whole, from the first frame on, and stayed away: 15 dB."""
    shown = np.full((240, 320, 3), 70, np.uint8)
    for x in range(10, 320, 22):
        cv2.line(shown, (x, 30), (x, 225), (215, 215, 220), 2, cv2.LINE_AA)
    cv2.line(shown, (0, 40), (320, 40), (215, 215, 220), 3)
    assert min(_left(name, shown)) >= 35


@pytest.mark.parametrize("name", BUDGETS)
def test_a_wall_of_bricks_stays(name: str) -> None:
    """Its light upright joints went as if they were short streaks, dry, from the first frame on: 30 dB."""
    shown = np.full((240, 320, 3), (140, 90, 70), np.uint8)
    for row, y in enumerate(range(0, 240, 14)):
        cv2.line(shown, (0, y), (320, y), (190, 190, 190), 1)
        for x in range(15 * (row % 2), 320, 30):
            cv2.line(shown, (x, y), (x, y + 14), (190, 190, 190), 1)
    shown = np.asarray(cv2.GaussianBlur(shown, (0, 0), 0.6), np.uint8)
    assert min(_left(name, shown)) >= 40


@pytest.mark.parametrize(("name", "least"), [("stream", 46), ("stream-nano", 33)])
def test_chain_link_stays(name: str, least: float) -> None:
    """Wires went where a stream began, before there was a past to tell them from rain: 39 and 31 dB."""
    shown = np.full((240, 320, 3), 110, np.uint8)
    for x in range(-240, 320, 24):
        cv2.line(shown, (x, 0), (x + 100, 240), (195, 190, 190), 1, cv2.LINE_AA)
        cv2.line(shown, (x + 100, 0), (x, 240), (195, 190, 190), 1, cv2.LINE_AA)
    assert min(_left(name, shown)) >= least


@pytest.mark.parametrize("name", BUDGETS)
def test_grass_that_stands_stays(name: str) -> None:
    """It went blade by blade: 32 dB in `stream`, 36 in `stream-nano`."""
    shown = data.grass()
    assert _left(name, shown)[-1] >= 38


@pytest.mark.parametrize("name", BUDGETS)
def test_two_thousand_frames_do_not_drift(name: str) -> None:
    """A read-out that feeds on its own past could wander off; it must not, on a picture that stands and rains on."""
    clean = data.coffee()[100:148, 100:164, 1]
    derainer = Derainer(name, threads=1)
    errors = []
    for index in range(2000):
        rng = np.random.default_rng(index % 400)  # the same rain again, so that early and late frames can be compared
        rainy = clean.copy()
        for x in rng.integers(0, 64, 2):
            top = int(rng.integers(0, 36))
            rainy[top : top + 12, x] = np.clip(rainy[top : top + 12, x].astype(int) + 60, 0, 255)
        errors.append(np.mean((np.asarray(derainer(rainy)).astype(float) - clean) ** 2))
    psnr = 10 * np.log10(255**2 / np.array(errors))
    assert psnr[1700:].mean() > psnr[100:400].mean() - 0.3


def test_a_model_without_weights_says_what_to_do() -> None:
    with pytest.raises(ModelError, match=r"give the path of a checkpoint"):
        esdnet.load("esdnet")
    with pytest.raises(ModelError, match="unknown model"):
        models.card("nonesuch")
