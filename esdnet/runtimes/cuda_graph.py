"""PyTorch's kernels on an NVIDIA GPU: the step through torch.compile, each turn captured as one CUDA graph.

A frame then costs one launch from the processor instead of some hundreds. Needs no package beyond a CUDA build of
PyTorch. Source: CUDA graphs in PyTorch (pytorch.org/docs/stable/notes/cuda.html#cuda-graphs): warm up on a side
stream, capture, replay at fixed addresses.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from esdnet.errors import ModelError
from esdnet.runtimes.gpu import require_gpu
from esdnet.runtimes.graph_runtime import GraphRuntime
from esdnet.runtimes.step_spec import StepSpec
from esdnet.runtimes.two_sets import Launch, TwoSets
from esdnet.streaming import StreamNet

_WARM_UP = 3
_log = logging.getLogger(__name__)


class CudaGraphRuntime(GraphRuntime):
    """Runs on the current GPU, in half precision. RuntimeMissing where there is none that PyTorch can use."""

    name = "cuda_graph"

    def __init__(self, network: StreamNet, *, threads: int | None = None, precision: str = "fp16") -> None:
        device = require_gpu(self.name)
        super().__init__(network, device, precision)
        self._network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._fuses = _has_triton()
        if not self._fuses:
            _log.warning("cuda_graph: Triton is not installed, so kernels are not fused; pip install triton")

    def _launcher(self, spec: StepSpec, sets: TwoSets, stream: torch.cuda.Stream | None) -> Launch:
        assert stream is not None
        step = in_place(spec.module(self._network).to(self._device))
        if self._fuses:
            step = torch.compile(step, dynamic=False, fullgraph=True)

        def turn(number: int) -> None:
            step(sets.pictures, sets.sets[number], sets.derained, sets.sets[1 - number])

        graphs = [torch.cuda.CUDAGraph() for _ in range(2)]
        pool = torch.cuda.graph_pool_handle()  # shared: nothing of one replay outlives it but what was copied out
        try:
            with torch.no_grad():
                with torch.cuda.stream(stream):
                    for _ in range(_WARM_UP):
                        turn(0)
                        turn(1)
                stream.synchronize()
                for number, graph in enumerate(graphs):
                    with torch.cuda.graph(graph, pool=pool, stream=stream):
                        turn(number)
        except torch.cuda.OutOfMemoryError:
            raise
        except Exception as error:  # a compiler's or a driver's; the user's way on is the same
            said = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise ModelError(
                f"runtime cuda_graph cannot compile or capture {spec}: {said}; choose another --runtime"
            ) from error
        return lambda number: graphs[number].replay()


def in_place(module: Callable[..., tuple[Tensor, ...]]) -> Callable[..., None]:
    """The pure step as one that writes its results to given memory: compiled together, the copies cost no pass."""

    def step(pictures: Sequence[Tensor], state: Sequence[Tensor], derained: Sequence[Tensor],
             after: Sequence[Tensor]) -> None:  # fmt: skip
        results = module(*pictures, *state)
        for held, result in zip([*derained, *after], results, strict=True):
            held.copy_(result)

    return step


def _has_triton() -> bool:
    from importlib.util import find_spec

    return find_spec("triton") is not None
