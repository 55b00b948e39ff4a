"""ONNX files made of our own operators that would take all memory or never end are refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from example_bundles import example_frames, example_parts, write_example
from hypothesis import HealthCheck, given, settings
from onnx import TensorProto, helper, numpy_helper
from random_programs import programs

from tmkt import bundle as bundles
from tmkt.deploy.engines.onnx_file import check_onnx
from tmkt.deploy.engines.onnx_work import check_work
from tmkt.deploy.engines.registry import open_engine
from tmkt.errors import InputError
from tmkt.export.targets.onnx import write_onnx
from tmkt.program.model import Program

ENGINES = [("onnx", bundles.ONNX), ("float", bundles.ONNX_FLOAT)]
FLOAT = TensorProto.FLOAT


def add(model: Any, operator: str, inputs: list[str], output: str, **attributes: Any) -> None:
    model.graph.node.append(helper.make_node(operator, inputs, [output], **attributes))


def constant(model: Any, name: str, value: Any, dtype: Any = np.float32) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.asarray(value, dtype), name))


def doubled(model: Any) -> None:
    constant(model, "d0", [1.0])
    for i in range(40):
        add(model, "Concat", [f"d{i}", f"d{i}"], f"d{i + 1}", axis=0)


def doubled_shapes(model: Any) -> None:
    constant(model, "d0", [2, 2], np.int64)
    for i in range(40):
        add(model, "Concat", [f"d{i}", f"d{i}"], f"d{i + 1}", axis=0)


def expanded(model: Any) -> None:
    constant(model, "one", 1)
    constant(model, "sides", [2**20, 2**20], np.int64)
    add(model, "Expand", ["one", "sides"], "wide")


def expanded_by_its_steps(model: Any) -> None:
    constant(model, "one", 1)
    add(model, "Concat", ["steps_batch"] * 7, "sides", axis=0)
    add(model, "Expand", ["one", "sides"], "wide")


def expanded_to_nothing(model: Any) -> None:
    constant(model, "one", 1)
    constant(model, "sides", [2**62, 0], np.int64)
    add(model, "Expand", ["one", "sides"], "wide")


def each_with_each(model: Any) -> None:
    constant(model, "row", np.ones((1, 2**14)))
    constant(model, "column", np.ones((2**14, 1)))
    add(model, "Add", ["row", "column"], "square")


def outer_product(model: Any) -> None:
    constant(model, "row", np.ones((1, 2**14)))
    constant(model, "column", np.ones((2**14, 1)))
    add(model, "MatMul", ["column", "row"], "square")


def products(model: Any) -> None:
    constant(model, "p0", np.ones((2**10, 2**10)))
    for i in range(2**10):
        add(model, "MatMul", [f"p{i}", "p0"], f"p{i + 1}")


def padded(model: Any) -> None:
    constant(model, "map", np.ones((1, 1, 1, 1)))
    add(model, "Conv", ["map", "map"], "wide", pads=[2**20] * 4)


def wide_windows(model: Any) -> None:
    constant(model, "map", np.ones((1, 1, 2**8, 2**8)))
    sides, pads = [2**8, 2**8], [2**7] * 4
    add(model, "AveragePool", ["map"], "windows", kernel_shape=sides, pads=pads)


def step(*nodes: Any, inputs: list[str], outputs: list[str]) -> Any:
    values = [
        [helper.make_tensor_value_info(n, FLOAT, None) for n in names]
        for names in (inputs, outputs)
    ]
    return helper.make_graph(list(nodes), "step", *values)


def long_scan(model: Any) -> None:
    constant(model, "long", np.ones(2**22))
    nodes = [helper.make_node("Identity", ["i"], ["o"])]
    body = step(*nodes, inputs=["i"], outputs=["o"])
    add(model, "Scan", ["long"], "out", num_scan_inputs=1, body=body)


def growing_state(model: Any) -> None:
    constant(model, "start", [1.0])
    constant(model, "forty", np.ones(40))
    nodes = [helper.make_node("Concat", ["v", "v"], ["v_next"], axis=0)]
    body = step(*nodes, inputs=["v", "i"], outputs=["v_next"])
    add(model, "Scan", ["start", "forty"], "out", num_scan_inputs=1, body=body)


def heavy_steps(model: Any) -> None:
    constant(model, "square", np.ones((2**9, 2**9)))
    constant(model, "steps", np.ones(2**13))
    nodes = [helper.make_node("MatMul", ["square", "square"], ["o"])]
    body = step(*nodes, inputs=["i"], outputs=["o"])
    add(model, "Scan", ["steps"], "out", num_scan_inputs=1, body=body)


def many_nodes_a_step(model: Any) -> None:
    constant(model, "zero", 0)
    constant(model, "steps", np.ones(2**12))
    nodes = [helper.make_node("Add", [f"n{i}", "zero"], [f"n{i + 1}"]) for i in range(1000)]
    body = step(*nodes, inputs=["n0"], outputs=["n1000"])
    add(model, "Scan", ["steps"], "out", num_scan_inputs=1, body=body)


def shape_from_data(model: Any) -> None:
    constant(model, "one", 1)
    constant(model, "large", np.full(20, 2**20), np.int64)
    constant(model, "start", [0], np.int64)
    constant(model, "end", [3], np.int64)
    add(model, "Slice", ["large", "start", "end", "start"], "sides")
    add(model, "Expand", ["one", "sides"], "wide")


def other_attribute(model: Any) -> None:
    constant(model, "map", np.ones((1, 1, 4, 4)))
    add(model, "AveragePool", ["map"], "out", kernel_shape=[2, 2], ceil_mode=1)


def attribute_of_another_type(model: Any) -> None:
    constant(model, "map", np.ones((1, 1, 4, 4)))
    add(model, "AveragePool", ["map"], "out", kernel_shape=[2, 2], strides=[2, 2])
    model.graph.node[-1].attribute[-1].type = onnx.AttributeProto.FLOAT


def value_before_its_node(model: Any) -> None:
    add(model, "Identity", ["later"], "now")
    constant(model, "one", 1)
    add(model, "Identity", ["one"], "later")


HEAVY: list[tuple[Callable[[Any], None], str]] = [
    (doubled, "more (work|values) than [0-9] times its program's"),
    (doubled_shapes, "more (work|values) than [0-9] times its program's"),
    (expanded, "more (work|values) than [0-9] times its program's"),
    (expanded_by_its_steps, "the shape|more (work|values) than"),
    (expanded_to_nothing, r"an Expand to \[4611686018427387904, 0\]"),
    (each_with_each, "more (work|values) than [0-9] times its program's"),
    (outer_product, "more (work|values) than [0-9] times its program's"),
    (products, "more (work|values) than [0-9] times its program's"),
    (padded, "more (work|values) than [0-9] times its program's"),
    (wide_windows, "more work than [0-9] times its program's"),
    (long_scan, "more work than [0-9] times its program's"),
    (growing_state, "a Scan whose states change their shapes"),
    (heavy_steps, "more work than [0-9] times its program's"),
    (many_nodes_a_step, "more work than [0-9] times its program's"),
    (shape_from_data, "a shape that depends on data"),
    (other_attribute, "the attribute 'ceil_mode' of the operator 'AveragePool'"),
    (attribute_of_another_type, "an attribute 'strides' of another type than it says"),
    (value_before_its_node, "no value called 'later' before it is used"),
]


@pytest.mark.parametrize(("engine", "name"), ENGINES)
@pytest.mark.parametrize(("change", "found"), HEAVY)
def test_more_work_than_the_program_is_refused(
    tmp_path: Path, engine: str, name: str, change: Callable[[Any], None], found: str
) -> None:
    bundle = write_example(tmp_path / "b", example_parts(), files=[name])
    model = onnx.load(bundle.path / name)
    change(model)
    bundle.contents[name] = model.SerializeToString()
    with pytest.raises(InputError, match=f"{name}: found ({found}).*, expected only what tmkt"):
        open_engine(engine, bundle)


@pytest.mark.parametrize(("engine", "name"), ENGINES)
def test_more_steps_than_the_contracts_are_checked_before_they_run(
    tmp_path: Path, engine: str, name: str
) -> None:
    bundle = write_example(tmp_path / "b", example_parts(), files=[name])
    model = onnx.load(bundle.path / name)
    constant(model, "long", np.ones((1, 1, 2**7)))
    add(model, "Shape", ["x"], "steps", start=0, end=1)
    add(model, "Concat", ["steps"] * 4, "sides", axis=0)
    constant(model, "one", 1)
    add(model, "Expand", ["one", "sides"], "by_steps")
    bundle.contents[name] = model.SerializeToString()
    opened = open_engine(engine, bundle)
    frames = example_frames(1)
    opened.run(frames)
    with pytest.raises(InputError, match=f"{name}: found more (work|values) than"):
        opened.run(np.repeat(frames, 40, axis=1))


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(program=programs(temporal=True))
def test_no_program_has_a_file_that_is_refused(tmp_path: Path, program: Program) -> None:
    path = tmp_path / "network.onnx"
    write_onnx(program, path)
    graph = check_onnx(path.read_bytes(), path)
    for steps, samples in ((1, 1), (6, 16), (10_000, 16)):
        check_work(graph, program, steps, samples, path)
