"""Built engines on disk: a visible key, one builder at a time, nothing damaged is used."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import time
from pathlib import Path

import pytest

from esdnet.runtimes.engine_cache import KEPT, EngineCache, EngineKey

KEY = EngineKey(
    network="0a1b2c3d4e5f", code="77", shape="1920x1080-b1-planes-tv", precision="fp16", gpu="NVIDIA H100 80GB HBM3",
    capability="9.0", tensorrt="11.1.0", torch_tensorrt="torch-tensorrt 2.14.0", torch="2.14.0+cu130",
)  # fmt: skip
ENGINE = bytes(range(256)) * 40 + b"\n{}\n"


def never() -> bytes:
    raise AssertionError("an engine that is there was built again")


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    return EngineCache(tmp_path / "engines")


def test_the_key_is_seen_in_the_name_and_in_the_first_line(cache: EngineCache) -> None:
    assert cache.obtain(KEY, lambda: ENGINE) == ENGINE
    (path,) = cache.folder.glob("*.engine")
    assert path == cache.path(KEY)
    assert path.name.startswith("1920x1080-b1-planes-tv-fp16-NVIDIA-H100-80GB-HBM3-trt11.1.0-net0a1b2c3d-")
    first = path.read_bytes().splitlines()[0].decode()
    assert all(value in first for value in dataclasses.asdict(KEY).values())
    assert EngineCache(cache.folder).obtain(KEY, never) == ENGINE


@pytest.mark.parametrize("part", [field.name for field in dataclasses.fields(EngineKey)])
def test_whatever_changes_in_the_key_the_engine_is_built_again(cache: EngineCache, part: str) -> None:
    cache.obtain(KEY, lambda: ENGINE)
    other = dataclasses.replace(KEY, **{part: "other"})
    assert cache.find(other) is None
    assert cache.obtain(other, lambda: b"another") == b"another"
    assert cache.find(KEY) == ENGINE


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped", "headless", "of another key"])
def test_a_damaged_engine_is_not_used_and_built_again(cache: EngineCache, damage: str) -> None:
    cache.obtain(KEY, lambda: ENGINE)
    path = cache.path(KEY)
    whole = path.read_bytes()
    other = dataclasses.replace(KEY, gpu="another")
    cache.obtain(other, lambda: ENGINE)
    path.write_bytes(
        {
            "cut": whole[:-7],
            "empty": b"",
            "flipped": whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:],
            "headless": whole.split(b"\n", 1)[1],
            "of another key": cache.path(other).read_bytes(),
        }[damage]
    )
    assert cache.find(KEY) is None
    assert cache.obtain(KEY, lambda: ENGINE) == ENGINE
    assert path.read_bytes() == whole


def _obtain(folder: Path, log: Path) -> None:
    def build() -> bytes:
        with log.open("a") as file:
            file.write(f"{os.getpid()}\n")
        time.sleep(1)
        return ENGINE

    assert EngineCache(folder).obtain(KEY, build, say=lambda _: None) == ENGINE


def test_of_processes_that_want_the_same_engine_one_builds_it(cache: EngineCache, tmp_path: Path) -> None:
    context, log = multiprocessing.get_context("fork"), tmp_path / "builders"
    processes = [context.Process(target=_obtain, args=(cache.folder, log)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 4
    assert len(log.read_text().splitlines()) == 1


def test_a_build_that_fails_leaves_nothing_and_holds_up_nobody(cache: EngineCache) -> None:
    def fail() -> bytes:
        raise RuntimeError("no memory")

    with pytest.raises(RuntimeError, match="no memory"):
        cache.obtain(KEY, fail)
    assert not list(cache.folder.glob("*.engine"))
    assert cache.obtain(KEY, lambda: ENGINE) == ENGINE


def test_without_a_folder_to_write_to_the_engine_is_built_and_told(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file where the folder should be")
    told: list[str] = []
    cache = EngineCache(tmp_path / "taken" / "engines")
    assert cache.obtain(KEY, lambda: ENGINE, say=told.append) == ENGINE
    assert len(told) == 1 and "cannot be kept" in told[0]


def test_the_oldest_engines_go(cache: EngineCache) -> None:
    keys = [dataclasses.replace(KEY, network=f"{number:08d}") for number in range(KEPT + 2)]
    for number, key in enumerate(keys):
        cache.obtain(key, lambda: b"x")
        os.utime(cache.path(key), (number, number))
    cache.obtain(KEY, lambda: ENGINE)
    assert len(list(cache.folder.glob("*.engine"))) == KEPT
    assert cache.find(KEY) == ENGINE
    assert cache.find(keys[0]) is None
