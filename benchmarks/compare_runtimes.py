"""How OpenVINO was chosen: one step of a model on each candidate in turn, in one process, on one thread.

    pip install onnxscript onnxruntime          # not needed by derain itself
    python benchmarks/compare_runtimes.py --model stream-nano --size 640x360 --rounds 12

Times are of the processor (`time.process_time`), the least of the rounds, so that other work on the machine counts
less. torch.compile needs a C++ compiler and takes minutes to begin.
"""

from __future__ import annotations

import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import torch
import typer

from esdnet.fold import fold_batch_norm
from esdnet.models import load
from esdnet.runtimes import open_runtime
from esdnet.runtimes.openvino import import_openvino
from esdnet.streaming import StreamNet


def compare(
    model: Annotated[str, typer.Option()] = "stream-nano",
    size: Annotated[str, typer.Option(help="WIDTHxHEIGHT")] = "640x360",
    rounds: Annotated[int, typer.Option(min=2)] = 12,
    skip: Annotated[str, typer.Option(help="Candidates to leave out, with commas between.")] = "",
) -> None:
    """Print milliseconds of processor time a step for each candidate."""
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    network = load(model)
    assert isinstance(network, StreamNet)
    width, height = (int(side) for side in size.split("x"))
    frame = torch.rand(1, 6, height // 2, width // 2)
    steps: dict[str, Callable[[], object]] = {}
    for name, make in CANDIDATES.items():
        if name not in skip.split(","):
            steps[name] = make(network, frame)
            steps[name]()
    least = dict.fromkeys(steps, float("inf"))
    for _ in range(rounds):
        for name, step in steps.items():
            began = time.process_time()
            step()
            least[name] = min(least[name], time.process_time() - began)
    for name, seconds in least.items():
        print(f"{model} {size} {name:24} {1e3 * seconds:8.1f} ms  {least['eager'] / seconds:5.2f} of eager's speed")


def _eager(network: StreamNet, frame: torch.Tensor) -> Callable[[], object]:
    runtime = open_runtime("eager", network)
    state = runtime.initial_state(1, *frame.shape[-2:])
    return lambda: runtime.step(frame, state)


def _plain(network: StreamNet, frame: torch.Tensor) -> Callable[[], object]:
    folded, state = fold_batch_norm(network), network.initial_state(1, *frame.shape[-2:])

    def step() -> object:
        with torch.inference_mode():
            return folded.step(frame, state)

    return step


def _openvino(network: StreamNet, frame: torch.Tensor) -> Callable[[], object]:
    return _compiled(network, frame, stateful=False)


def _stateful(network: StreamNet, frame: torch.Tensor) -> Callable[[], object]:
    return _compiled(network, frame, stateful=True)


def _compiled(network: StreamNet, frame: torch.Tensor, *, stateful: bool) -> Callable[[], object]:
    openvino = import_openvino()
    example = (frame, *network.initial_state(1, *frame.shape[-2:]).tensors())
    with torch.no_grad():
        graph = openvino.convert_model(
            fold_batch_norm(network), example_input=example, input=[tuple(tensor.shape) for tensor in example]
        )
    if stateful:
        pairs = list(zip(graph.get_parameters()[1:], graph.get_results()[1:], strict=True))
        from openvino.passes import MakeStateful, Manager

        manager = Manager()
        manager.register_pass(MakeStateful(pairs))
        manager.run_passes(graph)
        example = example[:1]
    settings = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "ENABLE_CPU_PINNING": False}
    request = openvino.Core().compile_model(graph, "CPU", settings).create_infer_request()
    for index, tensor in enumerate(example):
        request.set_input_tensor(index, openvino.Tensor(tensor.numpy(), shared_memory=True))
    return lambda: request.infer()


def _onnxruntime(network: StreamNet, frame: torch.Tensor) -> Callable[[], object]:
    import onnxruntime  # type: ignore[import-not-found]

    example = (frame, *network.initial_state(1, *frame.shape[-2:]).tensors())
    path = Path(tempfile.mkdtemp(prefix="derain-onnx-")) / "step.onnx"
    with torch.no_grad():
        torch.onnx.export(fold_batch_norm(network), example, str(path), opset_version=20, dynamo=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    for place, tensor in zip(session.get_inputs(), example, strict=True):
        binding.bind_cpu_input(place.name, tensor.numpy())
    for place in session.get_outputs():
        binding.bind_output(place.name, "cpu")
    return lambda: session.run_with_iobinding(binding)


def _compile(network: StreamNet, frame: torch.Tensor) -> Callable[[], object]:
    step = torch.compile(fold_batch_norm(network).to(memory_format=torch.channels_last).forward)
    example = (frame, *network.initial_state(1, *frame.shape[-2:]).tensors())

    def run() -> object:
        with torch.inference_mode():
            return step(*example)

    return run


CANDIDATES = {
    "eager": _eager,
    "eager, channels first": _plain,
    "openvino": _openvino,
    "openvino, stateful": _stateful,
    "onnxruntime": _onnxruntime,
    "torch.compile": _compile,
}


if __name__ == "__main__":
    typer.run(compare)
