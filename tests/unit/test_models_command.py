"""`derain models`: every model is listed, and one's card is shown whole."""

from __future__ import annotations

import json
from typing import Any

import pytest

from esdnet import models as named
from pipeline import cli
from tests.conftest import Derain

CARD: dict[str, Any] = {
    "name": "one",
    "shipped": True,
    "description": "for video [fast]",
    "licence": "CC0-1.0",
    "parameters": 1234567,
    "figures": {"clip a": {"psnr_y": 31.5}, "clip b": {"psnr_y": 29.0}},
    "data": ["first set", "second set"],
    "text": "# One\n\nTrained on rain.",
}
OTHER = CARD | {"name": "two", "shipped": False, "text": "# Two"}


@pytest.fixture(autouse=True)
def _two_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(named, "names", lambda: ("one", "two"))
    monkeypatch.setattr(named, "card", lambda name: {"one": CARD, "two": OTHER}[name])
    monkeypatch.setenv("COLUMNS", "100")


def test_list_has_a_row_for_each_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models"]) == 0
    said = capsys.readouterr().out
    one, two = (next(line for line in said.splitlines() if name in line) for name in ("one ", "two "))
    for cell in ("shipped", "1,234,567", "CC0-1.0", "for video [fast]"):
        assert cell in one
    assert "none shipped" in two


def test_card_is_shown_whole(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models", "one"]) == 0
    said = capsys.readouterr().out
    for part in ("for video [fast]", "clip b", "29.0", "second set", "Trained on rain."):
        assert part in said


def test_json_of_all_is_a_list_of_heads(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == [{key: card[key] for key in card if key != "text"} for card in (CARD, OTHER)]


def test_json_of_one_is_its_card(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models", "two", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == OTHER


def test_an_unknown_name_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models", "three"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "derain: unknown model 'three'; there are: one, two\n"


def test_every_model_of_this_version_has_a_card(derain: Derain) -> None:
    """In a process of its own, where nothing is put in the models' place."""
    done = derain("models", "--json")
    assert done.returncode == 0, done.stderr
    cards = json.loads(done.stdout)
    assert [card["name"] for card in cards] == ["stream", "stream-nano", "esdnet"]
    for card in cards:
        assert card["description"]
        assert card["licence"]
