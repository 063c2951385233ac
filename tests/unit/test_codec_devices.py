"""NVDEC and NVENC: on a machine without them one line each; with them `tests/gpu` decodes and encodes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline import codec_devices
from pipeline.errors import DerainError, UsageError
from pipeline.job import Job, check_job
from pipeline.pixels import carried_format, loss, pack
from pipeline.sinks.options import EncodeOptions, available_encoders, encoder_name, encoder_settings
from pipeline.sources import open_source
from tests.clips import make_clip

without_gpu = pytest.mark.skipif(codec_devices.has_nvdec(), reason="this machine has an NVIDIA GPU")


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    make_clip(tmp_path / "clip.mp4", frames=3)
    return tmp_path / "clip.mp4"


def job(clip: Path, *, decode: str = "cpu", **encode: str) -> Job:
    options = EncodeOptions(**encode)  # type: ignore[arg-type]
    return Job(
        source=str(clip), destination=str(clip.with_name("out.mp4")), model="identity", decode_device=decode,
        encode=options,
    )  # fmt: skip


@without_gpu
@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"decode": "nvdec"}, "--decode-device nvdec needs an NVIDIA GPU and its driver"),
        ({"device": "nvenc"}, "--encode-device nvenc needs an NVIDIA GPU and its driver"),
        ({"codec": "hevc_nvenc"}, "--codec hevc_nvenc needs an NVIDIA GPU and its driver"),
    ],
)
def test_without_a_gpu_the_job_is_refused_in_one_line(clip: Path, settings: dict[str, str], told: str) -> None:
    with pytest.raises(DerainError, match=told) as refused:
        check_job(job(clip, **settings))
    assert "\n" not in str(refused.value)
    assert "leave it out" in str(refused.value)


@without_gpu
def test_without_a_gpu_no_frame_is_decoded_in_software_instead(clip: Path) -> None:
    with pytest.raises(DerainError, match=str(clip)):
        open_source(str(clip), device="nvdec")
    assert not set(available_encoders()) & set(codec_devices.NVENC.values())


@pytest.mark.parametrize("settings", [{"decode": "cuda"}, {"device": "gpu"}, {"device": "nvenc", "codec": "ffv1"}])
def test_what_no_machine_has_is_wrong_usage(clip: Path, settings: dict[str, str]) -> None:
    with pytest.raises(UsageError, match=r"--(de|en)code-device"):
        check_job(job(clip, **settings))


def test_nvenc_takes_the_place_of_the_encoder_of_the_same_codec(monkeypatch: pytest.MonkeyPatch) -> None:
    for codec, encoder in (("libx264", "h264_nvenc"), ("hevc", "hevc_nvenc"), ("av1", "av1_nvenc")):
        assert encoder_name(EncodeOptions(codec=codec, device="nvenc")) == encoder
        assert encoder_name(EncodeOptions(codec=encoder)) == encoder
    monkeypatch.setattr("pipeline.sinks.options.has_encoder", lambda _: True)
    settings = encoder_settings(EncodeOptions(device="nvenc", crf=23, preset="p5"), "yuv420p", 640, 360)
    assert (settings.codec, settings.pixel_format) == ("h264_nvenc", "yuv420p")
    assert settings.options == {"rc": "vbr", "b": "0", "cq": "23", "preset": "p5"}
    with pytest.raises(UsageError, match="h264_nvenc takes p1"):
        encoder_settings(EncodeOptions(device="nvenc", preset="veryfast"), "yuv420p", 640, 360)


@pytest.mark.parametrize(("given", "carried"), [("nv12", "yuv420p"), ("p010le", "yuv420p10le")])
def test_what_nvdec_gives_is_carried_sample_for_sample(given: str, carried: str) -> None:
    import av

    deep = carried.endswith("le")
    samples = np.random.default_rng(0).integers(64, 941 if deep else 236, (96, 64), dtype=np.uint16)
    array = samples if deep else samples.astype(np.uint8)
    frame = av.VideoFrame.from_ndarray(array, format=carried)
    down = frame.reformat(format=given)
    assert down.format.name == given
    assert carried_format(given, native=True) == carried
    assert loss(given, carried) == ""
    assert bytes(pack(down, full_range=False, native=True)) == array.tobytes()
