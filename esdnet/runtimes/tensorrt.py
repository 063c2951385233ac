"""TensorRT on an NVIDIA GPU: the whole step as one engine, its membranes bound to two sets of memory used in turn.

The engine comes from `engine_build` by way of `engine_cache`. It is run without Torch-TensorRT's modules, whose CUDA
graphs copy every membrane in and out at each call: addresses are bound once (`set_tensor_address`), and each turn's
`execute_async_v3` is captured as a CUDA graph. TensorRT forbids that an input and an output share memory and wants one
execution context a captured graph, hence two sets and two contexts.
"""

from __future__ import annotations

import hashlib
import logging
from collections import OrderedDict
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from esdnet.errors import ModelError
from esdnet.runtimes import graph_cache
from esdnet.runtimes.engine_build import INSTALL, Say, build, import_torch_tensorrt
from esdnet.runtimes.engine_cache import EngineCache, EngineKey
from esdnet.runtimes.gpu import require_gpu
from esdnet.runtimes.graph_runtime import KEPT_SHAPES, GraphRuntime
from esdnet.runtimes.runtime import RuntimeMissing
from esdnet.runtimes.step_spec import StepSpec
from esdnet.runtimes.two_sets import Launch, TwoSets
from esdnet.streaming import StreamNet

_PACKAGES = ("torch-tensorrt", "torch-tensorrt-rtx")
_WARM_UP = 3
_log = logging.getLogger(__name__)


class TensorrtRuntime(GraphRuntime):
    """Runs on the current GPU. RuntimeMissing where GPU, driver or Torch-TensorRT are not there.

    ``say`` is told about builds, which take minutes; `cache` is where built engines are kept.
    """

    name = "tensorrt"

    def __init__(self, network: StreamNet, *, threads: int | None = None, precision: str = "fp16",
                 cache: EngineCache | None = None, say: Say = _log.warning) -> None:  # fmt: skip
        device = require_gpu(self.name)
        self._versions = _installed()
        self._tensorrt = _import_tensorrt()
        super().__init__(network, device, precision)
        self.cache, self._say = cache or EngineCache(), say
        self._runtime = self._tensorrt.Runtime(self._tensorrt.Logger(self._tensorrt.Logger.WARNING))
        self._engines: OrderedDict[StepSpec, Any] = OrderedDict()
        self._digest = digest_of(network)

    def key(self, spec: StepSpec) -> EngineKey:
        """What the engine for `spec` is kept under on this machine."""
        package, number = self._versions
        return EngineKey(
            network=self._digest,
            code=_code(),
            shape=str(spec),
            precision=self._precision,
            gpu=torch.cuda.get_device_name(self._device),
            capability="{}.{}".format(*torch.cuda.get_device_capability(self._device)),
            tensorrt=self._tensorrt.__version__,
            torch_tensorrt=f"{package} {number}",
            torch=torch.__version__,
        )

    def export(self, spec: StepSpec) -> Path:
        """Build the engine for `spec` unless it is there; where it is kept. ModelError where it cannot be built."""
        key = self.key(spec)
        self._serialized(spec, key)
        return self.cache.path(key)

    def _serialized(self, spec: StepSpec, key: EngineKey) -> bytes:
        def build_it() -> bytes:
            self._say(f"building the TensorRT engine {key.file_name}: minutes, once")
            network = self._network.to(self._device)
            example = (*spec.pictures(), *spec.zeros(network).tensors())
            return build(spec.export(network), example, say=self._say)

        return self.cache.obtain(key, build_it, say=self._say)

    def _engine(self, spec: StepSpec) -> Any:
        if spec not in self._engines:
            engine = self._runtime.deserialize_cuda_engine(self._serialized(spec, self.key(spec)))
            if engine is None:
                raise ModelError(
                    f"{self.cache.path(self.key(spec))}: TensorRT does not load this engine; remove it and try again"
                )
            self._engines[spec] = engine
            while len(self._engines) > KEPT_SHAPES:
                self._engines.popitem(last=False)
        self._engines.move_to_end(spec)
        return self._engines[spec]

    def _launcher(self, spec: StepSpec, sets: TwoSets, stream: torch.cuda.Stream | None) -> Launch:
        assert stream is not None
        engine = self._engine(spec)
        contexts = [engine.create_execution_context() for _ in range(2)]
        if None in contexts:
            raise ModelError(f"runtime tensorrt: not enough GPU memory to run {spec}; use fewer streams")
        for number, context in enumerate(contexts):
            self._bind(engine, context, [*sets.pictures, *sets.sets[number]], [*sets.derained, *sets.sets[1 - number]])

        def enqueue(number: int) -> None:
            if not contexts[number].execute_async_v3(stream.cuda_stream):
                raise ModelError(f"runtime tensorrt: the engine for {spec} does not run; TensorRT's own lines say why")

        graphs = [torch.cuda.CUDAGraph() for _ in range(2)]
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UP):
                enqueue(0)
                enqueue(1)
        stream.synchronize()
        for number, graph in enumerate(graphs):
            with torch.cuda.graph(graph, stream=stream):
                enqueue(number)

        def launch(number: int) -> None:
            _keep = (engine, contexts, sets)  # the graphs hold addresses, not references
            graphs[number].replay()

        return launch

    def _bind(self, engine: Any, context: Any, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> None:
        """Bind by position: Torch-TensorRT adds inputs and marks outputs in the order of the graph."""
        modes = self._tensorrt.TensorIOMode
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        for mode, tensors in ((modes.INPUT, inputs), (modes.OUTPUT, outputs)):
            bound = [name for name in names if engine.get_tensor_mode(name) == mode]
            found = [tuple(engine.get_tensor_shape(name)) for name in bound]
            if found != [tuple(t.shape) for t in tensors]:
                raise ModelError(f"the engine's {mode.name.lower()}s have shapes {found}, not those of this network")
            types = [_torch_dtype(self._tensorrt, engine.get_tensor_dtype(name)) for name in bound]
            if types != [t.dtype for t in tensors]:
                raise ModelError(f"the engine's {mode.name.lower()}s have dtypes {types}, not those of this network")
            for name, tensor in zip(bound, tensors, strict=True):
                if not context.set_tensor_address(name, tensor.data_ptr()):
                    raise ModelError(f"TensorRT takes no address for {name}")


def digest_of(network: StreamNet) -> str:
    """Of config and weights, as hexadecimal."""
    digest = hashlib.sha256(repr(network.config).encode())
    for name, tensor in network.state_dict().items():
        digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _code() -> str:
    """Digest of the code that decides what an engine computes."""
    digest = hashlib.sha256(graph_cache.code_fingerprint().encode())
    for name in ("step_spec.py", "half_body.py", "engine_build.py"):
        digest.update((Path(__file__).parent / name).read_bytes())
    return digest.hexdigest()


def _installed() -> tuple[str, str]:
    """(distribution, version) of Torch-TensorRT."""
    for package in _PACKAGES:
        try:
            return package, version(package)
        except PackageNotFoundError:
            continue
    raise RuntimeMissing("Torch-TensorRT is not installed", INSTALL)


def _import_tensorrt() -> Any:
    """TensorRT's or TensorRT-RTX's own package, under whichever name this machine has it."""
    import_torch_tensorrt()  # makes the one available under the other's name
    try:
        import tensorrt
    except Exception as error:
        raise RuntimeMissing(f"TensorRT does not load ({type(error).__name__}: {error})", INSTALL) from error
    return tensorrt


def _torch_dtype(tensorrt: Any, dtype: Any) -> torch.dtype | None:
    kinds = {
        tensorrt.DataType.FLOAT: torch.float32,
        tensorrt.DataType.HALF: torch.float16,
        tensorrt.DataType.UINT8: torch.uint8,
    }
    return kinds.get(dtype)
