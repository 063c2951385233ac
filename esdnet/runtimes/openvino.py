"""OpenVINO on the CPU: the step compiled for one frame size at a time, the fastest way on a processor here.

Measured against ONNX Runtime, torch.compile and eager on the shipped models: `docs/benchmarks.md`. OpenVINO's own
stateful variables (ReadValue/Assign) were measured too and are no quicker than two sets of state tensors used in turn,
whose memory is bound once; the sets keep the step a pure function.

Arithmetic is float32 whatever the processor offers, so that every machine gives the same picture to within rounding;
`openvino_bf16` is the same in bfloat16.
"""

from __future__ import annotations

import functools
import hashlib
import io
import logging
import sys
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from esdnet.allowance import affine_cores, cores
from esdnet.errors import ModelError
from esdnet.plane_step import PlaneStep, packed_size
from esdnet.planes import CHANNELS, FULL, LIMITED
from esdnet.runtimes import graph_cache, heap, membrane_bits
from esdnet.runtimes.graph_conversion import converted
from esdnet.runtimes.openvino_stream import OpenvinoStream, Threads, plane_shapes
from esdnet.runtimes.output_order import places, shallowest_last
from esdnet.runtimes.row_body import RowStates, with_row_body
from esdnet.runtimes.runtime import RuntimeMissing
from esdnet.state import MembraneState
from esdnet.streaming import StreamNet

KEPT_GRAPHS = 6
"""Compiled graphs kept in memory at a time; a stream keeps its own alive."""
_DEVICE = "CPU"
_log = logging.getLogger(__name__)


def import_openvino() -> Any:
    """The package, with its telemetry left out: importing it reports to Google Analytics unless that is absent.

    RuntimeMissing where it is not installed or broken.
    """
    try:
        if "openvino" not in sys.modules:
            sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # "not to be imported"
        import openvino
    except ImportError as error:
        if error.name == "openvino":
            raise RuntimeMissing("OpenVINO is not installed", "pip install 'derain[openvino]'") from error
        raise RuntimeMissing(
            f"OpenVINO cannot be imported ({error})", "pip install --force-reinstall 'derain[openvino]'"
        ) from error
    return openvino


@functools.cache
def _core() -> Any:
    """The one `Core` of this process, which is never let go of.

    Its CPU plugin sets an alternate signal stack and restores the one before when it goes. Two that go in the order in
    which they came leave the stack of the first in place, freed: the next signal to be handled ends the process.
    """
    return import_openvino().Core()


def plugins_own_precision() -> str:
    """What the CPU plugin would compute in if nothing were asked of it: "bf16" where the processor does so natively.

    Its list of capabilities has BF16 on every AVX-512 processor, also where that is emulated and slow.
    """
    precision: str = _core().get_property(_DEVICE, "INFERENCE_PRECISION_HINT").get_type_name()
    return precision


def multiplies_integers() -> bool:
    """Whether this processor has instructions that add up products of 8-bit integers (AVX512-VNNI).

    Without them OpenVINO would widen the integers first, which gains little or nothing.
    """
    return bool(torch.cpu._is_vnni_supported())


class OpenvinoRuntime:
    """Runs on the CPU with `threads` threads, None: one a core. RuntimeMissing where the package is not there."""

    name = "openvino"
    precision = "f32"
    membranes_as_bits = False
    """Whether those of streams of planes are bfloat16 between two steps."""

    def __init__(self, network: StreamNet, *, threads: int | None = None) -> None:
        self._openvino = import_openvino()
        self._core = _core()
        if _DEVICE not in self._core.available_devices:
            raise RuntimeMissing("OpenVINO has no plugin for this processor")
        self._network = with_row_body(network, integers=multiplies_integers())
        self._states = RowStates(self._network)
        self._settings: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "INFERENCE_PRECISION_HINT": self.precision,
            # The codecs work on the same cores; a pinned thread would wait for the one it is pinned to.
            "ENABLE_CPU_PINNING": False,
        }
        self.steps_at_once = threads or cores()
        """How many streams' steps, in as many threads, are quicker side by side than one after the other."""
        self.side_by_side = False
        """Whether steps of streams are taken so now, each with one thread. Set it while none is under way."""
        if threads is not None:
            self._settings["INFERENCE_NUM_THREADS"] = threads
        self._compiling, self._stepping = threading.Lock(), threading.Lock()
        self._compiled: OrderedDict[tuple[Any, ...], Any] = OrderedDict()
        self._requests: dict[tuple[Any, ...], Any] = {}
        self._made_from = ""

    def initial_state(self, streams: int, height: int, width: int) -> MembraneState:
        return self._network.initial_state(streams, height, width)

    def step(self, frame: Tensor, state: MembraneState) -> tuple[Tensor, MembraneState]:
        streams, _, height, width = frame.shape
        expected = self._network.initial_state(streams, height, width, device="meta")
        shapes = [t.shape for t in state.tensors()]
        if state.names != expected.names or shapes != [t.shape for t in expected.tensors()]:
            raise ModelError("the state is of another network, frame size or number of streams than the frames")
        request = self._request(
            ("packed", streams, height, width), lambda: (self._network, (torch.rand(streams, CHANNELS, height, width),))
        )
        inputs = [tensor.detach().float().contiguous().numpy() for tensor in (frame, *self._states.rows(state))]
        outputs = [np.empty(array.shape, np.float32) for array in inputs]
        order = places(request.get_compiled_model())
        with self._stepping:
            for index, array in enumerate(inputs):
                request.set_input_tensor(index, self.tensor(array))
            for index, array in enumerate(outputs):
                request.set_output_tensor(order[index], self.tensor(array))
            request.infer()
        derained, *kept = (torch.from_numpy(array) for array in outputs)
        return derained, self._states.state(kept, state.names)

    def open_stream(self, height: int, width: int, *, full_range: bool) -> OpenvinoStream:
        """A stream of 8-bit planes; see `PlaneRuntime`."""

        def module() -> tuple[nn.Module, tuple[Tensor, ...]]:
            step = PlaneStep(self._network, height, width, FULL if full_range else LIMITED).eval()
            return step, tuple(torch.zeros(1, 1, *shape, dtype=torch.uint8) for shape in plane_shapes(height, width))

        def compiled(threads: Threads) -> Any:
            return self._compile(("planes", height, width, full_range, threads), module)

        return OpenvinoStream(self, compiled, height, width)

    def arrays(self, state: MembraneState) -> list[membrane_bits.Array]:
        """Zeros of the shapes and types in which a graph of planes takes such a state."""
        bits = self._in_bits(state)
        rows = self._states.rows(state)
        return [membrane_bits.zeros(tuple(row.shape), index in bits) for index, row in enumerate(rows)]

    def write(self, arrays: list[membrane_bits.Array], state: MembraneState) -> None:
        for array, row in zip(arrays, self._states.rows(state), strict=True):
            membrane_bits.write(array, row)

    def read(self, arrays: list[membrane_bits.Array], names: tuple[str, ...]) -> MembraneState:
        """The state that `arrays` hold, a copy."""
        return self._states.state([membrane_bits.read(array) for array in arrays], names)

    def tensor(self, array: membrane_bits.Array) -> Any:
        """OpenVINO's view of an array's memory. A read-only one is copied: OpenVINO takes no promise not to write."""
        if array.dtype == membrane_bits.BITS:
            return self._openvino.Tensor(array, self._openvino.Shape(array.shape), self._openvino.Type.bf16)
        return self._openvino.Tensor(array if array.flags.writeable else array.copy(), shared_memory=True)

    def _in_bits(self, state: MembraneState) -> list[int]:
        """The places of a state's tensors that are bfloat16 in graphs of planes."""
        return self._states.membranes(state) if self.membranes_as_bits else []

    def _request(self, key: tuple[Any, ...], make: Callable[[], tuple[nn.Module, tuple[Tensor, ...]]]) -> Any:
        """The graph's request for `step`, made once: each holds the memory of a step between its layers."""
        compiled = self._compile(key, make)
        if key not in self._requests:
            self._requests[key] = compiled.create_infer_request()
        return self._requests[key]

    def _compile(self, key: tuple[Any, ...], make: Callable[[], tuple[nn.Module, tuple[Tensor, ...]]]) -> Any:
        """The compiled graph called `key`: from memory, from the disk, or made from the module and its frame inputs.

        None for "one" thread where it would have to be made: that saves less than making it costs.
        """
        with self._compiling:
            if key not in self._compiled:
                self._compiled[key] = self._compile_once(key, make)
            self._compiled.move_to_end(key)
            while len(self._compiled) > KEPT_GRAPHS:
                dropped, _ = self._compiled.popitem(last=False)
                self._requests.pop(dropped, None)
            return self._compiled[key]

    def _compile_once(self, key: tuple[Any, ...], make: Callable[[], tuple[nn.Module, tuple[Tensor, ...]]]) -> Any:
        threads: str = key[-1] if key[0] == "planes" else "all"
        shape = key[:-1] if key[0] == "planes" else key
        name = graph_cache.key_of(self._fingerprint(), *shape)  # whatever the threads, it is the same on the disk
        compiled = self._import(graph_cache.read(self.name, name), self._with_threads(threads))
        if compiled is not None or threads == "one":
            return compiled
        _log.info("openvino: compiling %s for %s", type(self._network).__name__, key)
        with heap.lean():
            compiled = self._convert(*make(), key)
        data = compiled.export_model().getvalue()
        graph_cache.write(self.name, name, data)
        if threads != "all":
            compiled = self._import(data, self._with_threads(threads))
        if compiled is None:
            raise ModelError("OpenVINO cannot read back the graph that it has just made; use --runtime eager")
        return compiled

    def _with_threads(self, threads: str) -> dict[str, Any]:
        if threads == "all":
            return self._settings
        if threads == "one":
            return self._settings | {"INFERENCE_NUM_THREADS": 1}
        most = self.steps_at_once
        return self._settings | {"PERFORMANCE_HINT": "THROUGHPUT", "NUM_STREAMS": most, "INFERENCE_NUM_THREADS": most}

    def _import(self, data: bytes | None, settings: dict[str, Any]) -> Any:
        if data is None:
            return None
        try:
            return self._core.import_model(io.BytesIO(data), _DEVICE, settings)
        except RuntimeError as error:  # of a version whose number does not tell it apart
            _log.info("openvino: a cached graph is not usable: %s", error)
            return None

    def _convert(self, module: nn.Module, frames: tuple[Tensor, ...], key: tuple[Any, ...]) -> Any:
        if len(frames) == 1:
            streams, height, width = frames[0].shape[0], *frames[0].shape[-2:]
        else:
            streams, (height, width) = 1, packed_size(*frames[0].shape[-2:])
        state = self._network.initial_state(streams, height, width)
        example = (*frames, *self._states.rows(state))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the tracer's, of sizes that become constants: they are meant to
                model = converted(module, example, self._openvino)
            if len(frames) > 1 and (places := self._in_bits(state)):
                model = membrane_bits.carried_as_bits(model, self._openvino, places, first=len(frames))
            model = shallowest_last(model, self._openvino)
            return self._core.compile_model(model, _DEVICE, self._settings)
        except Exception as error:  # whatever a converter raises, the user's way on is the same
            raise ModelError(
                f"OpenVINO cannot compile this network for {key}: {next(iter(str(error).splitlines()), '')}; "
                "use --runtime eager"
            ) from error

    def _fingerprint(self) -> str:
        """What a compiled graph depends on, but its shape."""
        if not self._made_from:
            digest = hashlib.sha256(repr(self._network.config).encode())
            for name, tensor in self._network.state_dict().items():
                digest.update(name.encode() + tensor.numpy().tobytes())
            processor = self._core.get_property(_DEVICE, "FULL_DEVICE_NAME")
            able = self._core.get_property(_DEVICE, "OPTIMIZATION_CAPABILITIES")
            versions = (self._openvino.get_version(), torch.__version__, graph_cache.code_fingerprint())
            # A graph compiled where only some cores may be used keeps to so many threads, whatever is asked for.
            self._made_from = graph_cache.key_of(
                digest.hexdigest(), *versions, processor, able, affine_cores(), sorted(self._settings.items())
            )
        return self._made_from
