"""Set-up knows from pip's report how much it will fetch."""

import sys

import pytest
from setup_size import brings_cuda

CUDA = ["filelock", 'nvidia-cudnn-cu13==9.20.0.48; platform_system == "Linux"']


def report(*asks: str) -> dict[str, object]:
    return {"install": [{"metadata": {"name": "torch", "requires_dist": list(asks)}}]}


@pytest.mark.parametrize(("system", "brings"), [("linux", True), ("darwin", False)])
def test_torch_of_pypi_brings_cuda_on_linux(
    monkeypatch: pytest.MonkeyPatch, system: str, brings: bool
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    assert brings_cuda(report(*CUDA)) == brings
    assert not brings_cuda(report("filelock", "sympy>=1.13.3"))
    assert brings_cuda(report("nvidia-nccl-cu12"))
