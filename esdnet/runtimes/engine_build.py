"""From an exported step to a serialized TensorRT engine, through Torch-TensorRT's lowering and converters.

The whole graph becomes one engine or none: an operation without a converter is an error, never a hybrid that copies
every membrane between engine and PyTorch. Versions: torch-tensorrt 2.14 with TensorRT 11.1; torch-tensorrt-rtx 2.13,
which also builds for a GPU that is not there (`capability`). Torch-TensorRT's own
`convert_exported_program_to_serialized_trt_engine` does the same steps, but asks a GPU for its memory on the way, loads
the engine it has built once, and shows no progress.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from esdnet.errors import ModelError
from esdnet.runtimes.runtime import RuntimeMissing

if TYPE_CHECKING:
    from torch.export import ExportedProgram
    from torch.fx import GraphModule

PROGRESS_SECONDS = 5.0
INSTALL = "pip install 'derain[tensorrt]' (for GeForce and RTX cards: torch-tensorrt-rtx)"
Say = Callable[[str], None]


def import_torch_tensorrt() -> Any:
    """The package. RuntimeMissing where it is not installed or does not load; it raises much beside ImportError."""
    try:
        import torch_tensorrt
    except ModuleNotFoundError as error:
        if error.name == "torch_tensorrt":
            raise RuntimeMissing("Torch-TensorRT is not installed", INSTALL) from error
        raise RuntimeMissing(f"Torch-TensorRT lacks the module {error.name}", INSTALL) from error
    except Exception as error:
        raise RuntimeMissing(f"Torch-TensorRT does not load ({type(error).__name__}: {error})", INSTALL) from error
    return torch_tensorrt


def lower(exported: ExportedProgram) -> GraphModule:
    """The graph as the converters see it; it can be run by PyTorch and gives what the exported step gives."""
    import_torch_tensorrt()
    from torch_tensorrt.dynamo import CompilationSettings
    from torch_tensorrt.dynamo._compiler import post_lowering, pre_export_lowering
    from torch_tensorrt.dynamo.lowering import get_decompositions

    settings = CompilationSettings(require_full_compilation=True)
    lowered = pre_export_lowering(exported, settings).run_decompositions(get_decompositions(False))
    graph: GraphModule = post_lowering(lowered.module(), settings)
    return graph


def without_converter(graph: GraphModule) -> list[str]:
    """Operations of a lowered graph that TensorRT would leave to PyTorch, each once; empty where it is one engine."""
    import_torch_tensorrt()
    from torch_tensorrt.dynamo.conversion import DYNAMO_CONVERTERS

    called = [node for node in graph.graph.nodes if node.op == "call_function"]
    return sorted({str(node.target) for node in called if node not in DYNAMO_CONVERTERS})


def build(exported: ExportedProgram, example: tuple[torch.Tensor, ...], *, say: Say = print,
          capability: tuple[int, int] | None = None) -> bytes:  # fmt: skip
    """The engine's bytes. Minutes; `say` gets a line now and then.

    Args:
        exported: `StepSpec.export`'s result.
        example: Its inputs, for their shapes and dtypes.
        say: Is told how far the build is.
        capability: Compute capability to build for, where it is not that of the GPU at hand. TensorRT-RTX only.

    Raises:
        RuntimeMissing: Torch-TensorRT is not there.
        ModelError: An operation has no converter, or TensorRT cannot build.
    """
    torch_tensorrt = import_torch_tensorrt()
    import tensorrt
    from torch_tensorrt.dynamo import CompilationSettings
    from torch_tensorrt.dynamo.conversion._TRTInterpreter import TRTInterpreter

    graph = lower(exported)
    if left := without_converter(graph):
        raise ModelError(f"TensorRT has no converter for {', '.join(left)} of this network; use --runtime cuda_graph")
    settings = CompilationSettings(require_full_compilation=True)
    # Outputs get the dtypes of the inputs: planes, whole float32 numbers in the graph, are cast to uint8.
    inputs = [torch_tensorrt.Input(tuple(t.shape), dtype=t.dtype) for t in example]
    outputs = [torch_tensorrt.dtype._from(t.dtype) for t in example]
    try:
        interpreter = TRTInterpreter(graph, inputs, output_dtypes=outputs, compilation_settings=settings)
        interpreter._construct_trt_network_def()
        network = interpreter.ctx.net
        made = [network.get_input(i) for i in range(network.num_inputs)]
        made += [network.get_output(i) for i in range(network.num_outputs)]
        expected = [(tuple(t.shape), torch_tensorrt.dtype._from(t.dtype)) for t in (*example, *example)]
        if [(tuple(t.shape), torch_tensorrt.dtype._from(t.dtype)) for t in made] != expected:
            raise ModelError("Torch-TensorRT made an engine whose inputs and outputs are not those of the step")
        config = interpreter._populate_trt_builder_config()
        if capability is not None:
            config.num_compute_capabilities = 1
            config.set_compute_capability(getattr(tensorrt.ComputeCapability, f"SM{capability[0]}{capability[1]}"), 0)
        config.progress_monitor = _monitor(tensorrt, say)
        engine = interpreter.builder.build_serialized_network(network, config)
    except (ModelError, KeyboardInterrupt):
        raise
    except Exception as error:
        said = next(iter(str(error).strip().splitlines()), "")
        raise ModelError(f"TensorRT cannot build this network ({type(error).__name__}: {said})") from error
    if engine is None:
        raise ModelError("TensorRT could not build the engine; its own lines above say why (often: too little memory)")
    return bytes(engine)


def _monitor(tensorrt: Any, say: Say) -> Any:
    """TensorRT's view of how far it is, as a line every few seconds."""

    class Monitor(tensorrt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self._began = self._told = time.monotonic()
            self._steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._steps[phase_name] = num_steps

        def step_complete(self, phase_name: str, step: int) -> bool:
            now = time.monotonic()
            if now - self._told >= PROGRESS_SECONDS:
                self._told = now
                of = self._steps.get(phase_name, 0)
                say(f"building the engine: {now - self._began:.0f} s, {phase_name} {step} of {of}")
            return True  # go on

        def phase_finish(self, phase_name: str) -> None:
            self._steps.pop(phase_name, None)

    return Monitor()
