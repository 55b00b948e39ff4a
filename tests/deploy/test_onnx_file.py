"""ONNX files of strangers: they may hold what our own graphs hold, and nothing else."""

import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from example_bundles import example_frames, example_parts, write_example
from hypothesis import HealthCheck, given, settings
from onnx import TensorProto, helper, numpy_helper
from random_programs import programs

from tmkt import bundle as bundles
from tmkt.deploy.engines import onnx_file
from tmkt.deploy.engines.onnx_file import check_onnx
from tmkt.deploy.engines.onnx_runtime import import_runtime
from tmkt.deploy.engines.registry import open_engine
from tmkt.errors import InputError
from tmkt.export.targets.onnx import write_onnx
from tmkt.program.model import Program

ENGINES = [("onnx", bundles.ONNX), ("float", bundles.ONNX_FLOAT)]
SECRET = np.array([11, 22, 33, 44], np.int32)


@pytest.mark.parametrize(("engine", "name"), ENGINES)
def test_the_exported_files_are_let_through(tmp_path: Path, engine: str, name: str) -> None:
    bundle = write_example(tmp_path / "b", example_parts(), files=[name])
    check_onnx(bundle.read(name), bundle.path / name)
    open_engine(engine, bundle).run(example_frames(1))


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(program=programs(temporal=True))
def test_every_program_has_a_file_that_is_let_through(tmp_path: Path, program: Program) -> None:
    write_onnx(program, tmp_path / "network.onnx")
    check_onnx((tmp_path / "network.onnx").read_bytes(), tmp_path / "network.onnx")


def outside(name: str = "t") -> Any:
    """Make a tensor whose content lies in the file `secret` of the working folder."""
    tensor = numpy_helper.from_array(SECRET, name)
    onnx.external_data_helper.set_external_data(tensor, "secret", length=SECRET.nbytes)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    return tensor


def branch(tensor: Any) -> Any:
    out = helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
    return helper.make_graph([], "branch", [], [out], [tensor])


def external_in_a_branch(model: Any) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
    branches = {"then_branch": branch(outside("p")), "else_branch": branch(outside("q"))}
    model.graph.node.append(helper.make_node("If", ["yes"], ["stolen"], **branches))


def external(model: Any) -> None:
    model.graph.initializer.append(outside())


def external_in_a_body(model: Any) -> None:
    body(model).initializer.append(outside())


def external_in_a_constant(model: Any) -> None:
    model.graph.node.append(helper.make_node("Constant", [], ["c"], value=outside()))


def endless(model: Any) -> None:
    values = [
        helper.make_tensor_value_info("i", TensorProto.INT64, []),
        helper.make_tensor_value_info("go", TensorProto.BOOL, []),
    ]
    out = helper.make_tensor_value_info("on", TensorProto.BOOL, [])
    step = helper.make_graph([helper.make_node("Identity", ["go"], ["on"])], "b", values, [out])
    model.graph.initializer.append(numpy_helper.from_array(np.array(2**62), "trips"))
    model.graph.node.append(helper.make_node("Loop", ["trips", ""], [], body=step))


def other_domain(model: Any) -> None:
    model.graph.node.append(helper.make_node("Identity", ["x"], ["y"], domain="com.microsoft"))


def other_domain_imported(model: Any) -> None:
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))


def function(model: Any) -> None:
    opset = [helper.make_opsetid("", 21)]
    nodes = [helper.make_node("Identity", ["a"], ["b"])]
    model.functions.append(helper.make_function("", "Add", ["a"], ["b"], nodes, opset))


def scan_in_a_body(model: Any) -> None:
    scan = next(node for node in model.graph.node if node.op_type == "Scan")
    body(model).node.append(scan)


def if_in_a_body(model: Any) -> None:
    body(model).node.append(helper.make_node("If", ["yes"], ["z"]))


def graph_in_a_body(model: Any) -> None:
    inner = branch(numpy_helper.from_array(SECRET, "t"))
    body(model).node.append(helper.make_node("Identity", ["x"], ["y"], anything=inner))


def sparse(model: Any) -> None:
    values, indices = (numpy_helper.from_array(np.array([1]), name) for name in "vi")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [5]))


def endless_scan(model: Any) -> None:
    """A Scan of 2^62 steps over a tensor without content."""
    empty = TensorProto(name="z", data_type=TensorProto.FLOAT, dims=[2**62, 0])
    model.graph.initializer.append(empty)
    values = [[helper.make_tensor_value_info(n, TensorProto.FLOAT, [0])] for n in ("i", "o")]
    step = helper.make_graph([helper.make_node("Identity", ["i"], ["o"])], "step", *values)
    model.graph.node.append(helper.make_node("Scan", ["z"], ["y"], num_scan_inputs=1, body=step))


def body(model: Any) -> Any:
    scan = next(node for node in model.graph.node if node.op_type == "Scan")
    return next(a.g for a in scan.attribute if a.name == "body")


FOREIGN: list[tuple[Callable[[Any], None], str]] = [
    (external_in_a_branch, "a tensor in another file|the operator 'If'"),
    (external, "a tensor in another file"),
    (external_in_a_body, "a tensor in another file"),
    (external_in_a_constant, "the operator 'Constant'"),
    (endless, "the operator 'Loop'"),
    (other_domain, "operators of the domain 'com.microsoft'"),
    (other_domain_imported, "operators of the domain 'com.microsoft'"),
    (function, "functions of its own"),
    (scan_in_a_body, "the operator 'Scan' in the body of a Scan|a graph in the body of a Scan"),
    (if_in_a_body, "the operator 'If' in the body of a Scan"),
    (graph_in_a_body, "a graph in the body of a Scan"),
    (sparse, "field 15 of a graph"),
    (endless_scan, "an empty tensor"),
]


@pytest.mark.parametrize(("engine", "name"), ENGINES)
@pytest.mark.parametrize(("change", "found"), FOREIGN)
def test_what_our_graphs_do_not_hold_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    engine: str,
    name: str,
    change: Callable[[Any], None],
    found: str,
) -> None:
    bundle = write_example(tmp_path / "b", example_parts(), files=[name])
    model = onnx.load(bundle.path / name)
    change(model)
    bundle.contents[name] = model.SerializeToString()
    SECRET.tofile(tmp_path / "secret")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=f"{name}: found ({found}), expected only what tmkt"):
        open_engine(engine, bundle)


def test_a_file_that_begins_like_onnx_runtimes_own_format_is_read_as_onnx(tmp_path: Path) -> None:
    bundle = write_example(tmp_path / "b", example_parts(), files=[bundles.ONNX])
    path = tmp_path / bundles.ONNX
    # The producer's name comes first, of two bytes more than the mark of the other format needs.
    bundle.contents[bundles.ONNX] = b"\x12\x06??ORTM" + bundle.read(bundles.ONNX)
    path.write_bytes(bundle.read(bundles.ONNX))
    assert onnx.load(path).producer_name == "tmkt"  # the last one of a field counts
    with pytest.raises(Exception, match=r"(?i)ort|flatbuffer"):
        onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    open_engine("onnx", bundle).run(example_frames(1))


def varint(value: int) -> bytes:
    parts = []
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"no model", "wire type 6"),
        (b"\x0b\x0c", "wire type 3"),  # a group, which protobuf skips
        (b"\x00\x01", "a field's tag out of range"),
        (b"\x8a\x80\x80\x80\x10\x00", "a field's tag out of range"),  # 2^32 + 10: cut, field 1
        (b"\x3a\x05ab", "a field longer than its message"),
        (b"\x3a" + varint(2**34), "a field longer than its message"),
        (b"\x08\xff", "a number without an end"),
        (b"\x08" + b"\xff" * 10 + b"\x01", "a number without an end"),
        (b"\x0d" + struct.pack("<H", 1), "a field longer than its message"),
    ],
)
def test_what_is_no_message_is_refused(tmp_path: Path, content: bytes, found: str) -> None:
    (tmp_path / "n.onnx").write_bytes(content)
    with pytest.raises(InputError, match=f"cannot load it .no ONNX file: {found}"):
        check_onnx((tmp_path / "n.onnx").read_bytes(), tmp_path / "n.onnx")


def test_a_graph_that_is_a_number_and_a_file_of_too_many_fields_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "n.onnx").write_bytes(b"\x38\x01")
    with pytest.raises(InputError, match="found wire type 0 in field 7 of a model"):
        check_onnx((tmp_path / "n.onnx").read_bytes(), tmp_path / "n.onnx")
    monkeypatch.setattr(onnx_file, "MAX_FIELDS", 10)
    (tmp_path / "n.onnx").write_bytes(b"\x08\x01" * 11)
    with pytest.raises(InputError, match="found more than 10 fields"):
        check_onnx((tmp_path / "n.onnx").read_bytes(), tmp_path / "n.onnx")


def test_onnx_runtime_is_imported_with_telemetry_off_and_silently(tmp_path: Path) -> None:
    (tmp_path / "onnxruntime.py").write_text(
        "import os; os.write(2, b'warning of the library'); calls = []\n"
        "said_before_the_import = os.environ.get('ORT_DISABLE_TELEMETRY')\n"
        "def disable_telemetry_events(): calls.append('telemetry')\n"
        "def set_default_logger_severity(level): calls.append(level)\n"
    )
    code = (
        "from tmkt.deploy.engines.onnx_runtime import import_runtime as get; import sys\n"
        "print(get().calls, get().said_before_the_import); print('ours', file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert (done.stdout, done.stderr) == ("[4, 'telemetry'] 1\n", "ours\n")


def test_the_real_onnx_runtime_knows_these_calls() -> None:
    assert import_runtime().get_available_providers()
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"
