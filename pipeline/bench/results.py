"""What was measured: the JSON of `derain bench --json` and the data file of `docs/benchmarks.md`."""

from __future__ import annotations

import msgspec


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What the machine could do, with as many threads as the network had, in turn with what is compared to it."""

    gflops: float  # float32 matrix multiplication, 10⁹ floating-point operations (2 a multiply-accumulate) a second
    bfloat16_gflops: float | None = None  # the same in bfloat16, where the processor has it
    bandwidth: float  # 10⁹ bytes a second, read and written, of a copy larger than the caches


class NetworkSpeed(msgspec.Struct, frozen=True, kw_only=True):
    """One model at one size on one runtime, 8-bit planes in and out (the derain stage's work)."""

    model: str
    width: int
    height: int
    runtime: str
    frames: int  # measured
    fps: float
    p50_ms: float
    p99_ms: float
    gmacs: float  # 10⁹ multiply-accumulates of convolutions, a frame
    state_mb: float  # 10⁶ bytes of membranes that go from frame to frame
    limits: Limits  # measured in turn with it
    arithmetic: str = "float32"  # of the convolutions, or "bfloat16"
    share_of_gflops: float  # of the limit for this arithmetic, 0..1
    share_of_bandwidth: float  # the least traffic, layer by layer (`esdnet/traffic.py`), against `Limits.bandwidth`
    roofline_fps: float  # frames a second at which the first of the two limits would be reached
    first_frame_s: float  # compiling, or reading the compiled graph from disk


class PipelineSpeed(msgspec.Struct, frozen=True, kw_only=True):
    """`derain run` beside a bare decode + encode in one process, H.264 in, H.264 veryfast out."""

    width: int
    height: int
    frames: int
    bare_fps: float
    fps: dict[str, float]  # by model; "identity": no network
    ratio: dict[str, float]  # of bare
    stages: dict[str, dict[str, float]]  # by model: seconds each stage was busy


class LinkCost(msgspec.Struct, frozen=True, kw_only=True):
    """A frame's way over one ZeroMQ link (ipc) of the pipeline, sender and receiver together."""

    width: int
    height: int
    cpu_ms: float
    wall_ms: float


class StartUp(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds of whole processes."""

    help: float
    identity: float  # `derain run --model identity` of two frames
    model: float  # the same with a network whose graph is on disk
    model_first: float  # … and without: it is compiled


class Bench(msgspec.Struct, frozen=True, kw_only=True):
    machine: str
    cores: int
    threads: int
    date: str
    command: str
    load: (
        float  # runnable processes beside ours before it began (one-minute average): above 0.3 a core, distrust figures
    )
    versions: dict[str, str]
    networks: list[NetworkSpeed]
    pipelines: list[PipelineSpeed]
    links: list[LinkCost]
    start_up: StartUp | None = None
