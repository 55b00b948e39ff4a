"""Build ONNX graphs: nodes with names, constants, inputs, outputs, and states that go in and come
out.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tmkt.files import writing

OPSET, IR = 21, 10


@dataclass
class Nodes:
    """A graph under construction, or the body of a Scan: its nodes, and a name for each result."""

    prefix: str = ""
    nodes: list[Any] = field(default_factory=list)

    def add(self, op: str, *inputs: str, out: str = "", **attributes: Any) -> str:
        """Add a node and give the name of its result: `out`, or one of its own."""
        name = out or f"{self.prefix}{op}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name


class Graph:
    """The outer graph. It begins with the input x, uint8 [T, B, *input shape], T and B symbolic."""

    def __init__(self, input_shape: tuple[int, ...]) -> None:
        self.main = Nodes()
        self.constants: dict[str, Any] = {}
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []
        self.value(self.inputs, "x", TensorProto.UINT8, "T", "B", *input_shape)
        self.main.add("Shape", "x", out="steps_batch", start=0, end=2)

    @staticmethod
    def value(values: list[Any], name: str, dtype: int, *shape: int | str) -> None:
        """Add the type and shape of an input or output to one of the lists."""
        values.append(helper.make_tensor_value_info(name, dtype, list(shape)))

    def state(self, name: str, dtype: int, *shape: int) -> None:
        """Declare the input `name` and the output `name`_out, both [B, *shape]."""
        self.value(self.inputs, name, dtype, "B", *shape)
        self.value(self.outputs, f"{name}_out", dtype, "B", *shape)

    def constant(self, value: Any, dtype: type[np.generic], name: str = "") -> str:
        """Add an initialiser, which the bodies of Scans see too, and give its name. Equal values
        share one unless it has a name of its own.
        """
        array = np.asarray(value, dtype)
        name = name or f"{array.dtype}_" + "_".join(str(n) for n in array.reshape(-1)) + (
            "" if array.ndim == 0 else "_list"
        )
        self.constants.setdefault(name, numpy_helper.from_array(array, name))
        return name

    def shape(self, *shape: int) -> str:
        """Add a shape, as Reshape takes it for its second input."""
        return self.constant(shape, np.int64)

    def by_channel(self, name: str, shape: tuple[int, ...]) -> str:
        """Add the reshaping of a value a channel, so that it can be added to [..., *shape]."""
        return self.main.add("Reshape", name, self.shape(-1, *[1] * (len(shape) - 1)))

    def as_float(self, name: str, shape: tuple[int, ...]) -> str:
        """Add the cast of [T, B, *shape] to float32 [T * B, *shape]: synapses see the steps as one
        batch.
        """
        flat = self.main.add("Reshape", name, self.shape(-1, *shape))
        return self.main.add("Cast", flat, to=TensorProto.FLOAT)

    def over_steps(self, shape: tuple[int, ...]) -> str:
        """Add the shape [T, B, *shape]; the input tells T and B."""
        return self.main.add("Concat", "steps_batch", self.shape(*shape), axis=0)

    def save(self, path: Path, info: dict[str, Any]) -> None:
        """Check the graph and write it, with `info` as JSON in metadata_props["tmkt"]. The same
        graph gives the same bytes.
        """
        graph = helper.make_graph(
            self.main.nodes, "tmkt", self.inputs, self.outputs, list(self.constants.values())
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR,
            producer_name="tmkt",
        )
        helper.set_model_props(model, {"tmkt": json.dumps(info)})
        onnx.checker.check_model(model, full_check=True)
        with writing(path) as beside:
            beside.write_bytes(model.SerializeToString(deterministic=True))
