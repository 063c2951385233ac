"""In which order a graph's outputs are listed, which decides how many passes over memory a layer of neurons takes.

OpenVINO fuses element-wise steps in the order in which it visits them, and it visits the outputs from the last to the
first, each with all that it is computed from. A membrane that is visited after the convolution of its layer's spikes
is not fused with what makes the spikes: charge and spikes are written, and read again only to be subtracted. So the
outputs that need least come last.
"""

from __future__ import annotations

from typing import Any

_NAME = "output"


def shallowest_last(model: Any, openvino: Any) -> Any:
    """`model` with its outputs named by their places, those first that the longest chain of operations leads to."""
    for index, result in enumerate(model.get_results()):
        result.set_friendly_name(f"{_NAME}{index}")
    depth: dict[str, int] = {}
    for node in model.get_ordered_ops():
        sources = (depth[value.get_node().get_name()] for value in node.input_values())
        depth[node.get_name()] = 1 + max(sources, default=0)
    results = sorted(model.get_results(), key=lambda result: -depth[result.get_name()])
    return openvino.Model(results, model.get_parameters(), model.get_friendly_name())


def places(compiled: Any) -> list[int]:
    """Where a compiled graph lists each output: `places(compiled)[index]` for the one that the network returns in place
    `index`."""
    listed = [int(port.get_node().get_friendly_name().removeprefix(_NAME)) for port in compiled.outputs]
    return sorted(range(len(listed)), key=listed.__getitem__)
