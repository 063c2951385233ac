"""Draws an `Inspection` as one HTML page with its pictures inside."""

from __future__ import annotations

import base64
import html
import io
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

from training.errors import TrainingError
from training.inspection import RAIN, Inspection, Layer

matplotlib.use("Agg")
from matplotlib import pyplot  # after the backend, which needs no screen

_WIDTH = 12.0  # inches
_ROW = 3
_STYLE = """body{font:16px/1.5 system-ui,sans-serif;max-width:1200px;margin:2em auto;padding:0 1em;color:#222}
img{max-width:100%}table{border-collapse:collapse}td,th{padding:.2em .8em;text-align:right}
td:first-child,th:first-child{text-align:left}tr:nth-child(even){background:#f3f3f3}.warn{color:#b00}"""


def write_page(seen: Inspection, path: Path, title: str) -> None:
    """One file that needs no other. TrainingError where it cannot be written."""
    rain = "the clean clip" if seen.truth else "what the network takes away (no clean clip was given)"
    parts = [
        f"<h1>{html.escape(title)}</h1>",
        f"<p>Model {html.escape(seen.model)}, {seen.frames} frames. The pictures are of frame {seen.shown}, which has "
        f"the most rain. A pixel counts as rain where luma differs by more than {RAIN:.0%} from {rain}.</p>",
        "<h2>Where rain makes neurons fire</h2>",
        _image(_pictures(seen)),
        "<p>Spikes a neuron, mean over the channels of a layer, at that frame. The number is how many times as many "
        "spikes fall where it rains as elsewhere, over all frames.</p>",
        _image(_maps(seen)),
    ]
    if any(place.potentials for place in seen.places):
        parts += [
            "<h2>Membranes over time</h2>",
            "<p>Two places: one that a streak passes, and one that stays dry. Above the luma that comes in and goes "
            "out; below, for each carried layer, the potential after firing that is farthest from 0 of all channels "
            "there: above 0 charged, below 0 inhibited.</p>",
            _image(_membranes(seen)),
        ]
    parts += ["<h2>Firing rate a layer</h2>", _image(_rates(seen)), _table(seen)]
    page = f"<!doctype html><meta charset=utf-8><title>{html.escape(title)}</title><style>{_STYLE}</style>"
    try:
        path.write_text(page + "\n".join(parts), encoding="utf-8")
    except OSError as error:
        raise TrainingError(f"cannot write {path}: {error.strerror}") from error


def _image(figure: Any) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90, bbox_inches="tight")
    pyplot.close(figure)
    return f'<img src="data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}">'


def _pictures(seen: Inspection) -> Any:
    figure, axes = pyplot.subplots(1, 3, figsize=(_WIDTH, _height(seen, 3)), layout="constrained")
    axes[0].imshow(seen.rainy)
    axes[0].set_title("rainy")
    axes[1].imshow(seen.derained)
    axes[1].set_title("derained")
    shown = axes[2].imshow(seen.rain, cmap="magma", vmin=0, vmax=max(0.1, float(np.quantile(seen.rain, 0.998))))
    axes[2].set_title("rain (difference of luma)")
    figure.colorbar(shown, ax=axes[2], shrink=0.7)
    for place, mark in zip(seen.places, "o^", strict=True):
        axes[0].plot(place.x, place.y, mark, ms=7, mfc="none", mec="yellow", mew=2)
    _bare(axes)
    return figure


def _maps(seen: Inspection) -> Any:
    layers = [layer for layer in seen.layers if layer.shown is not None]
    rows = -(-len(layers) // _ROW)
    figure, axes = pyplot.subplots(
        rows, _ROW, figsize=(_WIDTH, rows * _height(seen, _ROW)), layout="constrained", squeeze=False
    )
    for axis in axes.flat[len(layers) :]:
        axis.remove()
    for axis, layer in zip(axes.flat, layers, strict=False):
        assert layer.shown is not None
        top = max(1e-3, float(np.quantile(layer.shown, 0.998)))
        figure.colorbar(axis.imshow(layer.shown, cmap="magma", vmin=0, vmax=top), ax=axis, shrink=0.7)
        axis.set_title(f"{layer.name.removesuffix('.lif')}  ×{_number(layer.preference, 2)}", fontsize=10)
    _bare(axes)
    return figure


def _membranes(seen: Inspection) -> Any:
    figure, axes = pyplot.subplots(2, 2, figsize=(_WIDTH, 6), layout="constrained", sharex=True, sharey="row")
    for column, place in enumerate(seen.places):
        top, bottom = axes[0][column], axes[1][column]
        top.plot(place.rainy, label="rainy", color="tab:red")
        top.plot(place.derained, label="derained", color="tab:blue")
        top.set_title(f"{place.label} ({place.x}, {place.y})")
        bottom.set_prop_cycle(color=pyplot.get_cmap("tab20")(range(20)))
        for name, values in place.potentials.items():
            bottom.plot(values, label=name, lw=1)
        bottom.set_xlabel("frame")
    axes[0][0].set_ylabel("luma")
    axes[1][0].set_ylabel("membrane potential")
    axes[0][1].legend(fontsize=8)
    axes[1][1].legend(fontsize=7, ncols=2)
    return figure


def _rates(seen: Inspection) -> Any:
    figure, axis = pyplot.subplots(figsize=(_WIDTH, 0.28 * len(seen.layers) + 1), layout="constrained")
    names = [layer.name.removesuffix(".lif") for layer in seen.layers]
    rates = [100 * layer.rate for layer in seen.layers]
    bars = axis.barh(names, rates, color=["tab:red" if _warning(layer) else "tab:blue" for layer in seen.layers])
    axis.bar_label(bars, fmt="%.1f %%", padding=3, fontsize=8)
    axis.invert_yaxis()
    axis.set_xlim(0, 105)
    axis.set_xlabel("share of neurons that fire in a step, %")
    return figure


def _table(seen: Inspection) -> str:
    rows = [
        "<tr><th>layer<th>firing rate<th>first frame<th>last frame<th>spikes in rain<th>elsewhere<th>ratio<th></tr>"
    ]
    for layer in seen.layers:
        wet, dry = (_mean(values) for values in (layer.in_rain, layer.in_dry))
        rows.append(
            f"<tr><td>{html.escape(layer.name)}<td>{layer.rate:.1%}<td>{layer.rates[0]:.1%}<td>{layer.rates[-1]:.1%}"
            f"<td>{_number(wet, 3)}<td>{_number(dry, 3)}<td>{_number(layer.preference, 2)}"
            f"<td class=warn>{_warning(layer)}</tr>"
        )
    return f"<table>{''.join(rows)}</table>"


def _mean(values: list[float]) -> float:
    finite = [value for value in values if np.isfinite(value)]
    return float(np.mean(finite)) if finite else float("nan")


def _number(value: float, digits: int) -> str:
    """A dash where there is nothing to measure: it never rains, or nowhere else."""
    return f"{value:.{digits}f}" if np.isfinite(value) else "–"


def _warning(layer: Layer) -> str:
    return "dead" if layer.rate < 0.001 else "saturated" if layer.rate > 0.95 else ""


def _height(seen: Inspection, columns: int) -> float:
    """Inches of a row of pictures of that clip."""
    return _WIDTH / columns * seen.rainy.shape[0] / seen.rainy.shape[1] * 0.95 + 0.3


def _bare(axes: Any) -> None:
    for axis in np.ravel(axes):
        axis.set_xticks([])
        axis.set_yticks([])
