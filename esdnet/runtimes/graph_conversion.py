"""From a PyTorch module to OpenVINO's graph of it.

What `openvino.convert_model` does, in a quarter of its time: a module is traced once, where that traces it and then
runs it again to compare; and shapes are told before the graph is made, where that makes one of unknown shapes first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


def converted(module: nn.Module, example: Sequence[Tensor], openvino: Any) -> Any:
    """The graph of `module`, whose inputs have the shapes and types of `example`, float32 or uint8.

    Whatever the tracer or OpenVINO raise.
    """
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder
    from openvino.passes import ConstantFolding, Manager

    with torch.no_grad():
        traced = torch.jit.trace(module, tuple(example), check_trace=False, strict=False)  # type: ignore[no-untyped-call]
    types = {torch.float32: openvino.Type.f32, torch.uint8: openvino.Type.u8}
    frontend = FrontEndManager().load_by_framework("pytorch")
    decoder = TorchScriptPythonDecoder(traced)  # kept until the end: the frontend does not hold it
    read = frontend.load(decoder)
    for place, tensor in zip(read.get_inputs(), example, strict=True):
        read.set_partial_shape(place, openvino.PartialShape(list(tensor.shape)))
        read.set_element_type(place, types[tensor.dtype])
    graph = frontend.convert(read)
    # What the compiler takes for an integer it looks for among constants, before it computes those of constants.
    folding = Manager()
    folding.register_pass(ConstantFolding())
    folding.run_passes(graph)
    return graph
