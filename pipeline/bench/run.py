"""All the measurements of `derain bench`, one after the other."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence

from pipeline.bench.network import measure_networks
from pipeline.bench.results import Bench
from pipeline.bench.whole import measure_link, measure_pipeline, measure_start_up
from pipeline.errors import DerainError

SHOWN_VERSIONS = ("derain", "torch", "openvino", "av", "pyzmq", "numpy")


def measure(
    *,
    models: Sequence[str],
    sizes: Sequence[tuple[int, int]],
    runtimes: Sequence[str] = (),
    threads: int = 0,
    seconds: float = 3.0,
    pipeline: bool = True,
    identity_at: Sequence[tuple[int, int]] = (),
    pipeline_frames: int = 100,
    rounds: int = 2,
) -> Bench:
    """Measure.

    Args:
        models: Names or files.
        sizes: (width, height), even.
        runtimes: Empty: all that run here, for networks alone; the pipeline is measured with what auto takes.
        threads: Of the network; 0: one a core.
        seconds: For each model, size and runtime.
        pipeline: Whether to measure `derain run`, links and start-up too, all at the first size.
        identity_at: Sizes at which the pipeline is measured without a network too.
        pipeline_frames: Of the clip.
        rounds: How often `derain run` is measured; the best counts.

    Raises:
        UsageError: A model cannot be measured.
        DerainError: A model or runtime cannot be used, or a run fails.
    """
    from esdnet import allowance
    from esdnet.errors import ModelError
    from pipeline import machine

    load = os.getloadavg()[0]
    cores = allowance.cores()
    threads = threads or cores
    networks = []
    try:
        for model in models:
            for width, height in sizes:
                networks += measure_networks(
                    model, width, height, runtimes or _runtimes_here(model), threads=threads, seconds=seconds
                )  # fmt: skip
    except ModelError as error:
        raise DerainError(str(error)) from error
    pipelines, links, start_up = [], [], None
    if pipeline:
        width, height = sizes[0]
        asked = [(width, height, ["identity", *models]), *((*size, ["identity"]) for size in identity_at)]
        pipelines = [measure_pipeline(*each, frames=pipeline_frames, rounds=rounds, threads=threads) for each in asked]
        links = [measure_link(width, height), measure_link(1920, 1080)]
        start_up = measure_start_up(models[0], threads=threads)
    return Bench(
        machine=machine._cpu_name(),
        cores=cores,
        threads=threads,
        date=time.strftime("%Y-%m-%d %H:%M %Z"),
        command=" ".join(["derain", *sys.argv[1:]]),
        load=load,
        versions={name: found for name in SHOWN_VERSIONS if (found := machine._package(name))},
        networks=networks,
        pipelines=pipelines,
        links=links,
        start_up=start_up,
    )


def _runtimes_here(model: str) -> list[str]:
    """Names of the runtimes that can run this model on this machine, the best first."""
    from esdnet.models import load
    from esdnet.runtimes import RUNTIMES, RuntimeMissing, open_runtime
    from esdnet.streaming import StreamNet

    network = load(model)
    found = []
    for name in RUNTIMES if isinstance(network, StreamNet) else ():
        try:
            open_runtime(name, network)  # type: ignore[arg-type]
        except RuntimeMissing:
            continue
        found.append(name)
    return found or ["auto"]
