"""Training windows: the same data for the same seed, whole episodes, clear errors."""

from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch

from tests.clips import make_clip
from training.packed_clips import DataError
from training.rain_settings import RAIN_KINDS
from training.run_config import DataConfig, read_run
from training.windows import Window, WindowStream


@pytest.fixture(scope="module")
def stills(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stills")
    rng = np.random.default_rng(0)
    for i in range(2):
        small = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{i}.png"), cv2.resize(small, (128, 96), interpolation=cv2.INTER_CUBIC))
    return folder


def data(stills: Path, **changes: object) -> DataConfig:
    fields = {"stills": [{"path": str(stills)}], "crop": 32, "window": 2, "windows": 3, "batch": 2, **changes}
    return DataConfig.model_validate(fields)


def take(config: DataConfig, count: int, start: int = 0) -> list[Window]:
    stream = iter(WindowStream(config, seed=5, start=start))
    return [next(stream) for _ in range(count)]


def test_shapes_and_episodes(stills: Path) -> None:
    windows = take(data(stills), 6)
    assert all(w.rainy.shape == w.clean.shape == (2, 2, 6, 16, 16) for w in windows)
    assert all(w.rainy.dtype == torch.uint8 for w in windows)
    assert [w.fresh[0].item() for w in windows] == [True, False, False, True, False, False]
    assert any(w.fresh[1] != w.fresh[0] for w in windows)


def test_a_resumed_stream_gives_the_same_data(stills: Path) -> None:
    whole, tail = take(data(stills), 7), take(data(stills), 3, start=4)
    for a, b in zip(whole[4:], tail, strict=True):
        assert torch.equal(a.rainy, b.rainy)
        assert torch.equal(a.clean, b.clean)
        assert torch.equal(a.fresh, b.fresh)


def test_it_rains(stills: Path) -> None:
    windows = take(data(stills), 12)
    assert sum(float((w.rainy.float() - w.clean.float()).abs().mean()) for w in windows) > 0.5


def test_it_rains_as_the_file_says(stills: Path) -> None:
    none = dict.fromkeys(RAIN_KINDS, 0.0)
    plain = {"recompressed": 0.0, "captioned": 0.0}
    assert all(torch.equal(w.rainy, w.clean) for w in take(data(stills, rain=none | {"dry": 1.0}, **plain), 6))
    for window in take(data(stills, rain={"dry": 0.0}, **plain), 6):
        assert (window.rainy != window.clean).flatten(2).any(dim=2).all()


def test_frozen_rain_stands_still(stills: Path) -> None:
    for window in take(data(stills, frozen=1.0, recompressed=0.0, captioned=0.0), 3):
        assert torch.equal(window.rainy[0], window.rainy[1])


def test_single_frames_ride_beside_episodes(stills: Path) -> None:
    """Trained on episodes alone, networks learnt that rain is what was not there a moment ago and nothing of what a
    streak looks like: a reset each frame gained 0.3 dB where single frames teach 3."""
    still = {"frozen": 1.0, "batch": 3, "singles": 1, "recompressed": 0.0, "captioned": 0.0}
    windows = take(data(stills, **still), 6)
    assert all(w.fresh[2] for w in windows)
    assert all(torch.equal(w.rainy[0, :2], w.rainy[1, :2]) for w in windows)  # an episode of rain that stands still
    assert not any(torch.equal(w.rainy[0, 2], w.rainy[1, 2]) for w in windows)  # two scenes
    for a, b in zip(windows[3:], take(data(stills, **still), 3, start=3), strict=True):
        assert torch.equal(a.rainy, b.rainy)


def test_an_episode_of_one_frame_needs_no_cut(stills: Path) -> None:
    """`window: 1, windows: 1` with any share of cuts ended with "low >= high": there is no place for a cut."""
    assert len(take(data(stills, window=1, windows=1, cuts=1.0), 4)) == 4


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name: a\ndata: {crop: 33}", "data.crop"),
        ("name: a\ndata: {}\nspeed: 3", "speed"),
        ("name: a\ndata: {batch: 2, singles: 3}", "singles: 3 of a batch of 2"),
        ("name: a\ndata: {rain: {drizzle: 1}}", "data.rain.drizzle.*'dry', 'real'"),
        ("name: a\ndata: {rain: {bold: -1}}", "data.rain.bold"),
        ("name: a\ndata: {rain: {bold: .inf}}", "data.rain.bold: .*finite"),
        ("name: a\ndata: {rain: {dry: 0, real: 0, rendered: 0, effect: 0, bold: 0, heavy: 0, storm: 0}}", "above 0"),
        ("name: a\ndata: {clips: [{path: c, weight: .inf}]}", "weight: .*finite"),
        ("name: a\ndata: {clips: [{path: c, weight: 1.0e308}]}", "weight: .*1000000"),
        ("name: a\nseed: -1\ndata: {}", "seed"),
        ("name: a\nseed: 4294967296\ndata: {}", "seed"),
        ("name: a\nthreads: 100000\ndata: {}", "threads"),
        ("name: a\ndata: {}\noptim: {min_lr: .inf}", "optim.min_lr: .*finite"),
        ("name: a\ndata: {krop: 64}", r"data\.krop: no such key \(is data\.crop meant\?\)"),
        ("name: a\ndata: {}\nsteps: 5", r"steps: no such key \(is optim\.steps meant\?\)"),
        ("name: ''\ndata: {}", "names no folder"),
        ("name: ../out\ndata: {}", "names no folder"),
        ("name: a\ndata: [", "line 2: not YAML"),
        ("data: {}", "name"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(text)
    with pytest.raises(DataError, match=says) as caught:
        read_run(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_small_and_broken_data_are_named(stills: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        WindowStream(data(tmp_path / "nowhere"), 0)
    with pytest.raises(DataError, match="smaller than the crop"):
        WindowStream(data(stills, crop=104), 0)
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"bad\.png: cannot be read"):
        WindowStream(data(tmp_path), 0)
    (tmp_path / "bad.png").rename(tmp_path / "bad.mp4")
    clips = DataConfig.model_validate({"clips": [{"path": str(tmp_path)}], "cache": str(tmp_path / "cache")})
    with pytest.raises(DataError, match=r"bad\.mp4: cannot be read"):
        WindowStream(clips, 0)
    with pytest.raises(DataError, match="no data"):
        WindowStream(DataConfig(), 0)


def clips_of(folder: Path) -> DataConfig:
    return DataConfig.model_validate({"clips": [{"path": str(folder)}], "crop": 32, "cache": str(folder / "cache")})


def test_what_a_mac_leaves_beside_a_clip_is_no_clip(tmp_path: Path) -> None:
    """A folder copied by a Mac has a hidden file beside each clip, which stopped a run as a broken video; so did a
    folder that was named like one."""
    make_clip(tmp_path / "street.mp4", frames=4)
    (tmp_path / "._street.mp4").write_bytes(b"finder")
    (tmp_path / "old.mp4").mkdir()
    WindowStream(clips_of(tmp_path), 0)


@pytest.mark.parametrize("says", ["changes its size on the way", "too small to learn from", "has no video in it"])
def test_clips_that_are_of_no_use_are_named(tmp_path: Path, says: str) -> None:
    """They ended in an internal error that did not say which file it was."""
    if "size" in says:
        for name, width in (("a", 64), ("b", 96)):
            make_clip(tmp_path / f"{name}.mpg", frames=4, width=width, codec="mpeg2video", options={})
        both = b"".join((tmp_path / f"{name}.mpg").read_bytes() for name in "ab")
        (tmp_path / "a.mpg").unlink()
        (tmp_path / "b.mpg").write_bytes(both)
    elif "small" in says:
        make_clip(tmp_path / "b.mkv", frames=3, width=6, height=6)
    else:
        with av.open(str(tmp_path / "b.mp4"), "w") as container:
            sound = container.add_stream("aac", rate=48000, layout="mono")
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.rate = 48000
            container.mux(sound.encode(frame) + sound.encode(None))
    with pytest.raises(DataError, match=rf"b\.(mpg|mkv|mp4): .*{says}") as caught:
        WindowStream(clips_of(tmp_path), 0)
    assert "\n" not in str(caught.value)


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    make_clip(tmp_path / "street.mp4", frames=4)
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(DataError, match=r"cache: decoded clips cannot be kept there .*data\.cache"):
        WindowStream(clips_of(tmp_path), 0)


def test_the_shipped_recipes_are_valid() -> None:
    configs = Path(__file__).parents[2] / "configs"
    services = {configs / "live.yaml"}
    runs = [read_run(path) for path in sorted(set(configs.glob("*.yaml")) - services)]
    assert {"stream", "stream-nano"} <= {run.name for run in runs}


def test_half_of_the_rain_has_been_through_a_codec(stills: Path) -> None:
    """As all footage has; with fresh rain only, the noise of a codec stayed, and streaks that it had smeared."""
    fine, coarse = (take(data(stills, recompressed=1.0, crf=(crf, crf)), 6) for crf in (4, 40))
    plain = take(data(stills, recompressed=0.0), 6)
    errors = []
    for windows in (fine, coarse):
        assert all(torch.equal(a.clean, b.clean) for a, b in zip(windows, plain, strict=True))
        changes = [(a.rainy.float() - b.rainy.float()).square().mean() for a, b in zip(windows, plain, strict=True)]
        errors.append(float(torch.stack(changes).mean()))
    assert 0 < errors[0] < 4
    assert errors[1] > 8 * errors[0]
    mixed = take(data(stills, batch=8, singles=8), 6)
    unmixed = take(data(stills, batch=8, singles=8, recompressed=0.0), 6)
    shown, as_rendered = (torch.cat([w.rainy.flatten(0, 1) for w in windows]) for windows in (mixed, unmixed))
    same = (shown == as_rendered).flatten(1).all(dim=1)
    assert 0.3 < float(same.float().mean()) < 0.7


def test_some_of_the_footage_has_text_over_the_rain(stills: Path) -> None:
    """Weights trained without a letter took thin letters and bars out of what a camera writes, dry or not."""
    plain = take(data(stills, captioned=0.0, recompressed=0.0), 24)
    written = take(data(stills, captioned=1.0, recompressed=0.0), 24)
    over = beneath = 0
    for a, b in zip(plain, written, strict=True):
        text = (a.clean.float() - b.clean.float()).abs() > 40
        before, after = ((w.rainy.float() - w.clean.float()).abs() * text for w in (a, b))
        for wet, shown in zip(before.sum((2, 3, 4)).flatten(), after.sum((2, 3, 4)).flatten(), strict=True):
            over += bool(wet > 300 and shown < 0.3 * wet)
            beneath += bool(wet > 300 and shown > 0.7 * wet)
    assert over > beneath > 0, "most of it is in front of the rain, signs are behind it"
    some = take(data(stills, captioned=0.5, recompressed=0.0, batch=8, singles=8), 6)
    none = take(data(stills, captioned=0.0, recompressed=0.0, batch=8, singles=8), 6)
    same = torch.cat([(a.clean == b.clean).flatten(2).all(2).flatten() for a, b in zip(some, none, strict=True)])
    assert 0.4 < float(same.float().mean()) < 0.75


def test_a_range_that_is_none_is_refused(stills: Path) -> None:
    with pytest.raises(ValueError, match="crf: 30 to 20 is no range"):
        data(stills, crf=(30, 20))


def test_an_av_without_x264_is_told(stills: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str, mode: str) -> None:
        raise av.codec.codec.UnknownCodecError(name)

    monkeypatch.setattr("training.recompression.av.CodecContext.create", missing)
    with pytest.raises(DataError, match=r"no libx264.*data\.recompressed: 0"):
        take(data(stills, recompressed=1.0), 1)
