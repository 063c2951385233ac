"""`derain doctor`: says what is true of this machine, and of machines that lack something."""

from __future__ import annotations

import json
import platform

import msgspec
import pytest
import torch

from pipeline import cli, machine
from pipeline.commands import doctor


@pytest.fixture(scope="module")
def report() -> machine.Machine:
    return machine.inspect()


def test_facts_are_this_machines(report: machine.Machine) -> None:
    assert report.python == platform.python_version()
    assert report.torch == machine.Part("torch", "ready", torch.__version__)
    assert report.torch_threads > 0
    assert report.cores > 0
    assert 0 < report.memory_available <= report.memory_total
    assert report.temp_free > 0
    assert report.problems == []


def test_x264_and_ffv1_encode_a_frame(report: machine.Machine) -> None:
    states = {part.name: part.state for part in report.encoders}
    assert states["libx264"] == states["ffv1"] == "ready"
    assert set(states) == set(machine.ENCODERS)


def test_protocols_of_live_streams_are_listed(report: machine.Machine, capsys: pytest.CaptureFixture[str]) -> None:
    """That PyAV from PyPI has no SRT was found out only by trying."""
    states = {part.name: part.state for part in report.protocols}
    assert states["rtmp"] == states["tcp"] == "ready" and states["srt"] in ("ready", "missing")
    doctor._show(report)
    assert ("no srt: build PyAV" in capsys.readouterr().out) == (states["srt"] == "missing")


def test_every_runtime_is_listed_and_no_missing_one_is_called_ready(report: machine.Machine) -> None:
    assert [part.name for part in report.runtimes] == list(machine.RUNTIMES)
    for part in report.runtimes:
        assert part.state in ("ready", "broken", "missing")
        assert part.version if part.state == "ready" else part.note


def test_eager_is_ready(report: machine.Machine) -> None:
    assert ("eager", "ready", torch.__version__) in [(part.name, part.state, part.version) for part in report.runtimes]


def test_auto_is_the_first_that_is_ready(report: machine.Machine) -> None:
    """In the order that esdnet itself tries them, so that doctor and `derain run` say the same."""
    from esdnet.runtimes import RUNTIMES

    assert list(machine.RUNTIMES) == list(RUNTIMES)
    ready = [part for part in report.runtimes if part.state == "ready"]
    assert [part.name for part in ready if "auto" in part.note] == [ready[0].name]
    openvino = next(part for part in report.runtimes if part.name == "openvino")
    assert openvino.state == "ready" or "derain[openvino]" in openvino.note


def test_json_is_the_whole_report_on_one_line(
    report: machine.Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(machine, "inspect", lambda: report)
    assert cli.main(["doctor", "--json"]) == 0
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    assert json.loads(said) == msgspec.to_builtins(report)


def test_tables_name_every_part(
    report: machine.Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(machine, "inspect", lambda: report)
    assert cli.main(["doctor"]) == 0
    said = capsys.readouterr().out
    for part in [*report.runtimes, *report.encoders, *report.decoders]:
        assert part.name in said


def test_what_keeps_derain_from_working_is_a_failure(
    report: machine.Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sick = msgspec.structs.replace(report, problems=["PyTorch does not work: install derain again"])
    monkeypatch.setattr(machine, "inspect", lambda: sick)
    assert cli.main(["doctor"]) == 1
    assert "problem: PyTorch does not work" in capsys.readouterr().out


def test_what_to_install_is_told_to_the_letter(
    report: machine.Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rich took the `[tensorrt]` of `pip install 'derain[tensorrt]'` for markup, and the line brought nothing."""
    missing = machine.Part("tensorrt", "missing", note="pip install 'derain[tensorrt]'")
    monkeypatch.setattr(machine, "inspect", lambda: msgspec.structs.replace(report, runtimes=[missing]))
    cli.main(["doctor"])
    assert "'derain[tensorrt]'" in capsys.readouterr().out


def test_a_probe_that_crashes_is_a_line_of_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "PROBE_SECONDS", 20.0)
    found, error = machine._in_child("_probe_import", "no_such_module_anywhere")
    assert found == {}
    assert error == "ModuleNotFoundError: No module named 'no_such_module_anywhere'"


def test_a_broken_pytorch_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"_probe_torch": ({}, "Illegal instruction"), "_probe_codecs": ({}, ""), "_probe_import": ({}, "")}
    monkeypatch.setattr(machine, "_in_child", lambda probe, *_: answers[probe])
    found = machine.inspect()
    assert found.torch.state == "broken"
    assert any("Illegal instruction" in problem for problem in found.problems)


def test_a_gpu_that_pytorch_does_not_see_is_said() -> None:
    part = machine._torch_part({"version": "2.13.0+cpu", "gpus": []}, "", ["NVIDIA H100, 81559 MiB, 580.1"])
    assert part.state == "ready"
    assert "does not see the GPU" in part.note
