"""Pictures for viewers: subscribed to while somebody looks, and the pair as one picture for WebRTC."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from pipeline.frame import Frame, FrameHeader, StreamInfo, frame_bytes
from pipeline.preview_feed import PreviewFeed, PreviewHeader, PreviewPair
from pipeline.service import pictures
from pipeline.service.pictures import NoPicture, Pictures

INFO = StreamInfo(width=64, height=48, pixel_format="yuv420p", time_base=(1, 25), color_range=1)


@pytest.fixture
def feed(tmp_path: Path) -> Iterator[PreviewFeed]:
    made = PreviewFeed(f"ipc://{tmp_path}/p", fps=1000)
    yield made
    made.close()


def stream(tmp_path: Path, *, preview: bool = True) -> SimpleNamespace:
    config = SimpleNamespace(id="a", preview=preview)
    return SimpleNamespace(config=config, preview_address=f"ipc://{tmp_path}/p")


def show(feed: PreviewFeed, number: int) -> None:
    pixels = np.full(frame_bytes("yuv420p", 64, 48), number, np.uint8)
    header = FrameHeader(index=number, pts=number, width=64, height=48, pixel_format="yuv420p")
    feed.show(Frame(header, pixels), Frame(header, pixels), INFO, {"jpeg", "raw"}, True)


async def until(condition) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)


def test_a_stream_is_subscribed_to_only_while_somebody_looks(
    tmp_path: Path, feed: PreviewFeed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "IDLE", 0.3)

    async def scenario() -> None:
        hub, one = Pictures(), stream(tmp_path)
        assert feed.wanted() == set()
        viewers = [hub.pairs(one, "raw") for _ in range(2)]  # one subscription serves both
        firsts = [asyncio.create_task(anext(viewer)) for viewer in viewers]
        await until(lambda: feed.wanted() == {"raw"})
        show(feed, 100)
        for pair in await asyncio.wait_for(asyncio.gather(*firsts), 30):
            assert pair.before == bytes([100]) * frame_bytes("yuv420p", 64, 48)
        await viewers[0].aclose()
        await asyncio.sleep(1)
        assert feed.wanted() == {"raw"}, "the other still looks"
        await viewers[1].aclose()
        await until(lambda: feed.wanted() == set())
        await hub.close()

    asyncio.run(scenario())


def test_a_slow_viewer_gets_the_newest(tmp_path: Path, feed: PreviewFeed) -> None:
    async def scenario() -> None:
        hub, one = Pictures(), stream(tmp_path)
        pairs = hub.pairs(one, "raw")
        first = asyncio.create_task(anext(pairs))
        await until(lambda: feed.wanted() == {"raw"})
        show(feed, 1)
        await first
        for number in range(2, 6):
            show(feed, number)
            await asyncio.sleep(0.1)  # the viewer is busy
        newest = await asyncio.wait_for(anext(pairs), 30)
        assert newest.header.number == 4 and newest.after[0] == 5
        await pairs.aclose()
        await hub.close()

    asyncio.run(scenario())


def test_no_preview_is_told(tmp_path: Path) -> None:
    async def scenario() -> None:
        with pytest.raises(NoPicture, match="preview is false"):
            await Pictures().still(stream(tmp_path, preview=False))

    asyncio.run(scenario())


@pytest.mark.parametrize(("width", "height"), [(64, 48), (66, 50), (2, 2)])
def test_a_pair_as_one_picture(width: int, height: int) -> None:
    pytest.importorskip("aiortc", reason="needs the serve extra")
    from pipeline.service.webrtc import stacked

    rng = np.random.default_rng(3)
    halves = [rng.integers(16, 235, frame_bytes("yuv420p", width, height), dtype=np.uint8) for _ in range(2)]
    header = PreviewHeader(width=width, height=height, number=0, pts=0.0, read_at=0.0)
    made = stacked(PreviewPair(header, halves[0].tobytes(), halves[1].tobytes()))
    assert (made.width, made.height, made.format.name) == (width, 2 * height, "yuv420p")
    planes = made.to_ndarray().reshape(-1)
    chroma = width * height // 4
    size = width * height
    expected = [half[:size] for half in halves]
    expected += [half[size : size + chroma] for half in halves] + [half[size + chroma :] for half in halves]
    np.testing.assert_array_equal(planes, np.concatenate(expected))
