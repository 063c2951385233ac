"""Which files a batch takes, where results go, presets, and files that are still growing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline import presets
from pipeline.batch_files import gather
from pipeline.errors import DerainError, UsageError
from pipeline.watch_folder import WatchFolder


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("a.mp4", "x/b.mov", "x/y/c.wmv", "x/.hidden.mp4", ".trash/d.mp4", "notes.txt", "p.png"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"1234")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def pairs(sources: list[str], folder: str = "out", container: str | None = None) -> dict[str, str]:
    return {file.source: file.destination for file in gather(sources, folder, container)}


def test_a_folder_keeps_its_tree(library: Path) -> None:
    assert pairs(["in"]) == {
        "in/a.mp4": "out/a.mp4",
        "in/x/b.mov": "out/x/b.mov",
        "in/x/y/c.wmv": "out/x/y/c.mkv",  # there is no writing .wmv
    }


def test_the_container_can_be_chosen(library: Path) -> None:
    assert set(pairs(["in"], container="webm").values()) == {"out/a.webm", "out/x/b.webm", "out/x/y/c.webm"}


def test_patterns_lists_and_names(library: Path) -> None:
    assert pairs(["in/*.mp4"]) == {"in/a.mp4": "out/a.mp4"}
    assert pairs(["in/**/*.mov"]) == {"in/x/b.mov": "out/x/b.mov"}
    (library / "in/list.txt").write_text("# of tonight\n\na.mp4\nx/y\n")
    assert pairs(["@in/list.txt"]) == {"in/a.mp4": "out/a.mp4", "in/x/y/c.wmv": "out/c.mkv"}
    assert pairs(["in/notes.txt", "in/p.png"]) == {"in/notes.txt": "out/notes.mkv", "in/p.png": "out/p.png"}


def test_a_file_named_twice_is_taken_once(library: Path) -> None:
    assert pairs(["in", "in/a.mp4", "in/x/../a.mp4"]).keys() == pairs(["in"]).keys()


def test_results_inside_the_library_are_not_sources(library: Path) -> None:
    (library / "in/out").mkdir()
    (library / "in/out/a.mp4").write_bytes(b"1")
    assert "in/out/a.mp4" not in pairs(["in"], "in/out")


@pytest.mark.parametrize(("source", "folder"), [("in", "in"), ("in/x", "in"), ("in/*.mp4", "in"), ("in", "link")])
def test_results_among_their_sources_are_refused(library: Path, source: str, folder: str) -> None:
    """Every source counted as a result: there was "nothing to do", and all was well."""
    (library / "link").symlink_to("in")
    with pytest.raises(UsageError, match=f"^{folder}: is where the sources are"):
        gather([source], folder)


def test_a_link_to_nothing_does_not_end_the_batch(library: Path) -> None:
    """It was an internal error before the first file. That file fails when it is its turn."""
    (library / "in/lost.mp4").symlink_to("nowhere")
    sizes = {file.source: file.size for file in gather(["in"], "out")}
    assert sizes["in/lost.mp4"] == 0 and sizes["in/a.mp4"] == 4


def test_a_container_that_cannot_hold_the_results_becomes_one_that_can(library: Path) -> None:
    """Every .webm and .avi of a library failed, and told its user of options that a single file does not have."""
    for name in ("w.webm", "v.avi"):
        (library / "in" / name).write_bytes(b"1")
    with_x264 = {file.source: file.destination for file in gather(["in"], "out", encoder="libx264")}
    assert with_x264["in/w.webm"] == "out/w.mkv" and with_x264["in/v.avi"] == "out/v.mkv"
    assert with_x264["in/a.mp4"] == "out/a.mp4"
    (with_vp9,) = gather(["in/w.webm"], "out", encoder="libvpx-vp9")
    assert with_vp9.destination == "out/w.webm"


def test_two_sources_with_one_result_are_refused(library: Path) -> None:
    (library / "in/x/a.mp4").write_bytes(b"1")
    with pytest.raises(UsageError, match=r"both become out/a\.mp4"):
        gather(["in/a.mp4", "in/x/a.mp4"], "out")
    (library / "in/a.mov").write_bytes(b"1")
    with pytest.raises(UsageError, match="both become"):
        gather(["in"], "out", "mkv")


@pytest.mark.parametrize(("source", "says"), [("no", "no such"), ("in/*.avi", "matches nothing"), ("@no", "cannot be")])
def test_what_is_not_there_is_told(library: Path, source: str, says: str) -> None:
    with pytest.raises(DerainError, match=says):
        gather([source], "out")


def test_shipped_presets_can_be_encoded_with() -> None:
    from pipeline.sinks.containers import FORMATS
    from pipeline.sinks.options import available_encoders

    assert set(presets.names()) == {"archive", "fast", "web"}
    for name in presets.names():
        preset = presets.load(name)
        assert preset.codec in available_encoders()
        assert preset.container is None or f".{preset.container}" in FORMATS


def test_presets_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("codec: libx265\ncrf: 22\n")
    assert presets.load(str(path)).crf == 22
    path.write_text("codex: libx265\n")
    with pytest.raises(DerainError, match=r"mine\.yaml: codex: Extra inputs"):
        presets.load(str(path))
    path.write_text("codec: [\n")
    with pytest.raises(DerainError, match="not YAML"):
        presets.load(str(path))
    with pytest.raises(UsageError, match="archive, fast, web"):
        presets.load("slow")


def test_a_growing_file_is_left_until_it_stands_still(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    folder = WatchFolder(lambda: gather(["in/*.mp4"], "out"), stable=5)
    assert folder.ready() == []
    now += 4
    (library / "in/a.mp4").write_bytes(b"12345678")
    assert folder.ready() == []
    now += 4
    assert folder.ready() == []
    now += 2
    assert [file.source for file in folder.ready()] == ["in/a.mp4"]
    now += 100
    assert folder.ready() == []
    os.utime(library / "in/a.mp4", (1, 1))  # another file of that name
    assert folder.ready() == []
    now += 5
    assert len(folder.ready()) == 1
