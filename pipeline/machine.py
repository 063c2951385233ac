"""What this machine has: processor, memory, PyTorch and its runtimes, codecs, space. Facts for `derain doctor`.

What may crash or hang (importing PyTorch, opening a hardware encoder) is tried in a child process with a time limit, so
that a broken driver becomes a line in the report and not the end of it.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import msgspec

from esdnet import allowance
from pipeline.protocols import HOW, has_protocol
from pipeline.sources.live_address import SCHEMES

GIB = 1024**3
PROBE_SECONDS = 60.0

ENCODERS = ("libx264", "libx265", "libsvtav1", "ffv1", "h264_nvenc", "hevc_nvenc", "av1_nvenc")
DECODERS = ("h264", "hevc", "libdav1d", "libvpx-vp9", "ffv1")

RUNTIMES = {
    "tensorrt": ("torch-tensorrt", "an NVIDIA GPU, then pip install 'derain[tensorrt]'"),
    "cuda_graph": ("torch", "a CUDA build of PyTorch and an NVIDIA GPU"),
    "openvino_bf16": ("openvino", "a processor with AVX512-BF16 or AMX, then pip install 'derain[openvino]'"),
    "openvino": ("openvino", "the quickest on a processor: pip install 'derain[openvino]'"),
    "eager": ("torch", "pip install derain brings it"),
}
"""Runtime -> (package that carries it, how to get it), in the order in which `--runtime auto` tries them."""


class Part(msgspec.Struct, frozen=True):
    """One thing that is there and works ("ready"), is there and does not ("broken"), or is not there ("missing")."""

    name: str
    state: str
    version: str = ""
    note: str = ""


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """The whole report. Sizes in bytes."""

    derain: str
    python: str
    system: str
    cpu: str
    cores: int  # that this process may use, a container's limit included
    memory_total: int
    memory_available: int
    torch: Part
    torch_threads: int
    torch_cuda: str  # CUDA version this PyTorch was built for; empty for a CPU build
    gpus: list[str]
    runtimes: list[Part]
    ffmpeg: str
    pyav: str
    encoders: list[Part]
    decoders: list[Part]
    protocols: list[Part]  # of live streams, by scheme
    shared_memory_free: int
    temp_folder: str
    temp_free: int
    problems: list[str]  # what keeps `derain run` from working here, each with what to do


def inspect() -> Machine:
    """Look at this machine. Takes a few seconds: PyTorch is imported and each encoder encodes one frame."""
    torch_facts, torch_error = _in_child("_probe_torch")
    codec_facts, codec_error = _in_child("_probe_codecs")
    gpus = _gpus()
    torch = _torch_part(torch_facts, torch_error, gpus)
    encoders = [Part(**row) for row in codec_facts.get("encoders", [])]
    total, available = allowance.memory()
    temp = tempfile.gettempdir()
    problems = []
    if torch.state != "ready":
        problems.append(f"PyTorch does not work ({torch.note}): install derain again")
    if codec_error:
        problems.append(f"PyAV does not work ({codec_error}): pip install --force-reinstall av")
    elif all(part.state != "ready" for part in encoders if part.name == "libx264"):
        problems.append("this FFmpeg has no working libx264: name another encoder with --codec")
    return Machine(
        derain=_package("derain"),
        python=platform.python_version(),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        cpu=_cpu_name(),
        cores=allowance.cores(),
        memory_total=total,
        memory_available=available,
        torch=torch,
        torch_threads=torch_facts.get("threads", 0),
        torch_cuda=torch_facts.get("cuda") or "",
        gpus=gpus,
        runtimes=_runtimes(torch, torch_facts),
        ffmpeg=codec_facts.get("ffmpeg", ""),
        pyav=_package("av"),
        encoders=encoders,
        decoders=[Part(**row) for row in codec_facts.get("decoders", [])],
        protocols=[Part(**row) for row in codec_facts.get("protocols", [])],
        shared_memory_free=_free("/dev/shm"),
        temp_folder=temp,
        temp_free=_free(temp),
        problems=problems,
    )


def _torch_part(facts: dict[str, Any], error: str, gpus: list[str]) -> Part:
    found = _package("torch")
    if not found:
        return Part("torch", "missing", note="not installed")
    if error:
        return Part("torch", "broken", found, error)
    unused = ""
    if gpus and not facts["gpus"]:
        unused = "does not see the GPU: install a build of PyTorch for the driver's CUDA (pytorch.org)"
    return Part("torch", "ready", facts["version"], unused)


def _runtimes(torch: Part, torch_facts: dict[str, Any]) -> list[Part]:
    """State of every runtime; the one that `auto` takes is marked."""
    parts = [_runtime(name, torch, torch_facts) for name in RUNTIMES]
    best = next((part for part in parts if part.state == "ready"), None)
    return [msgspec.structs.replace(part, note="what --runtime auto takes here") if part is best else part
            for part in parts]  # fmt: skip


def _runtime(name: str, torch: Part, torch_facts: dict[str, Any]) -> Part:
    """State of one runtime."""
    package, how = RUNTIMES[name]
    found = _package(package)
    if not found:
        return Part(name, "missing", note=how)
    if package == "torch":
        if torch.state != "ready":
            return Part(name, "broken", found, torch.note)
        if name == "cuda_graph" and not torch_facts.get("gpus"):
            return Part(name, "missing", found, how)
        return Part(name, "ready", torch_facts["version"])
    module = package.replace("-", "_")
    facts, error = _in_child("_probe_import", module)
    if not error and name == "openvino_bf16" and not facts.get("bfloat16"):
        return Part(name, "missing", found, how)
    return Part(name, "broken", found, error) if error else Part(name, "ready", found)


def _package(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model"))]
    return names[0] if names else platform.processor() or platform.machine()


def _free(folder: str) -> int:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return 0


def _gpus() -> list[str]:
    """NVIDIA's GPUs as the driver sees them, whatever PyTorch was built for."""
    try:
        query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
        done = subprocess.run(query, capture_output=True, text=True, timeout=PROBE_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.strip()] if done.returncode == 0 else []


def _in_child(probe: str, *args: str) -> tuple[dict[str, Any], str]:
    """What a probe function below returns, found out in a process of its own; or why that went wrong."""
    code = f"import json; from pipeline import machine; print(json.dumps(machine.{probe}(*{args!r})))"
    environment = os.environ | {"SVT_LOG": "-1"}  # SVT-AV1 writes a banner past FFmpeg's log
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=PROBE_SECONDS, env=environment
        )
    except subprocess.TimeoutExpired:
        return {}, f"no answer within {PROBE_SECONDS:.0f} s"
    if done.returncode:
        said = done.stderr.strip().splitlines()
        return {}, said[-1] if said else f"ended with code {done.returncode}"
    found: dict[str, Any] = msgspec.json.decode(done.stdout.splitlines()[-1])
    return found, ""


def _probe_torch() -> dict[str, Any]:
    import torch

    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "version": torch.__version__,
        "cuda": torch.version.cuda,
        "threads": torch.get_num_threads(),
        "gpus": gpus if torch.cuda.is_available() else [],
    }


def _probe_import(module: str) -> dict[str, Any]:
    from importlib import import_module

    if module == "openvino":  # it would report to Google Analytics; see esdnet/runtimes/openvino.py
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    package = import_module(module)
    if module != "openvino":
        return {}
    # as `plugins_own_precision` of esdnet, which would import PyTorch
    return {"bfloat16": package.Core().get_property("CPU", "INFERENCE_PRECISION_HINT").get_type_name() == "bf16"}


def _probe_codecs() -> dict[str, Any]:
    import av

    av.logging.set_level(None)
    return {
        "ffmpeg": av.ffmpeg_version_info,
        "encoders": [_codec(name, "w", _encode_one) for name in ENCODERS],
        "decoders": [_codec(name, "r", None) for name in DECODERS],
        "protocols": [_protocol(scheme) for scheme in SCHEMES],
    }


def _protocol(scheme: str) -> dict[str, Any]:
    """Whether streams can be read from, or pushed to, SCHEME://…"""
    there = has_protocol(scheme)
    return {"name": scheme, "state": "ready" if there else "missing", "note": "" if there else HOW}


def _codec(name: str, mode: Any, check: Callable[[str], None] | None) -> dict[str, Any]:
    """Whether FFmpeg has the codec, and, with a check, whether it works: hardware encoders are built in everywhere."""
    import av

    try:
        long_name = av.codec.Codec(name, mode).long_name
        if check:
            check(name)
    except av.codec.codec.UnknownCodecError:
        return {"name": name, "state": "missing", "note": "not in this build of FFmpeg"}
    except (av.FFmpegError, RuntimeError) as error:
        needs = "needs an NVIDIA GPU and driver" if name.endswith("_nvenc") else str(error)
        return {"name": name, "state": "missing" if name.endswith("_nvenc") else "broken", "note": needs}
    return {"name": name, "state": "ready", "note": long_name}


def _encode_one(name: str) -> None:
    """Encode one grey 256×256 frame (NVENC refuses much smaller ones); raises what FFmpeg says."""
    from fractions import Fraction

    import av
    import numpy as np

    context: Any = av.CodecContext.create(name, "w")
    context.width, context.height, context.pix_fmt, context.time_base = 256, 256, "yuv420p", Fraction(1, 25)
    frame = av.VideoFrame.from_ndarray(np.full((384, 256), 128, np.uint8), format="yuv420p")
    frame.pts = 0
    packets = [*context.encode(frame), *context.encode(None)]
    if not packets:
        raise RuntimeError("encoded a frame to nothing")
