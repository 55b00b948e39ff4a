"""3x3 convolutions by Winograd's algorithm, for training on a CPU.

F(4x4, 3x3) (Lavin and Gray, arXiv 1509.09308) needs a quarter of the multiplications: 6x6 tiles of
the input and the kernels are transformed, multiplied point by point (36 matrix products over the
channels), and transformed back to 4x4 tiles of the output. Its gradients are the exact adjoints of
these steps. Rounding errors are about 20 times those of a direct convolution in float32 (17 to 28
times in root mean square at 512 channels, measured).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from tmkt.networks.cpu import winograd_kernels as kernels
from tmkt.networks.cpu.threads import parallel_for
from tmkt.processor import is_amd_with_avx512

_CHUNK_BYTES = 2**25  # of transformed tiles at a time
# On such a processor oneDNN's products take half the time of torch's own, and its direct
# convolutions win on smaller layers (measured on an EPYC 9005; the rest on processors with AVX2).
_ONEDNN = is_amd_with_avx512()
_LEAST_CHANNELS = 64 if _ONEDNN else 32  # with fewer the products are too small to win
_LEAST_POSITIONS = 100 if _ONEDNN else 0


def applies(conv: nn.Conv2d, x: Tensor) -> bool:
    """Return whether `winograd` computes what `conv` does on x [N, C, H, W], and faster."""
    plain = (
        conv.kernel_size == (3, 3)
        and conv.stride == (1, 1)
        and conv.padding == (1, 1)
        and conv.dilation == (1, 1)
        and conv.groups == 1
    )
    channels = conv.in_channels, conv.out_channels
    wide = min(channels) >= _LEAST_CHANNELS and all(n % kernels.LANES == 0 for n in channels)
    large = x.shape[2] * x.shape[3] >= _LEAST_POSITIONS
    full = x.dtype == conv.weight.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    return plain and wide and large and full and conv.bias is None and x.device.type == "cpu"


def winograd(x: Tensor, weight: Tensor) -> Tensor:
    """Convolve float32 [N, C, H, W] with weight [C', C, 3, 3] to [N, C', H, W] on a CPU.

    Stride 1, zero padding 1, channels last in memory.
    """
    y: Tensor = _Winograd.apply(x, weight)  # type: ignore[no-untyped-call]
    return y


@dataclass(frozen=True)
class _Tiling:
    """Tiles of maps of `height` x `width`; `images` maps are transformed at a time."""

    height: int
    width: int
    down: int
    across: int
    images: int

    @classmethod
    def of(cls, x: Tensor, channels: int) -> "_Tiling":
        """Choose the tiling. `channels`: those of all transformed tiles that are in memory
        together.
        """
        images, _, height, width = x.shape
        down, across = -(-height // 4), -(-width // 4)
        at_a_time = _CHUNK_BYTES // (36 * 4 * channels * down * across)
        return cls(height, width, down, across, max(1, min(images, at_a_time)))

    def chunks(self, x: Tensor) -> Iterator[slice]:
        for start in range(0, len(x), self.images):
            yield slice(start, min(start + self.images, len(x)))

    def padded(self, x: Tensor, around: int) -> Tensor:
        """Pad [n, C, H, W] to [n, h, w, C].

        There are `around` zeros before, and at least as many after, up to where the tiles reach.
        """
        below, right = (
            4 * tiles + around - size
            for tiles, size in ((self.down, self.height), (self.across, self.width))
        )
        return F.pad(x.permute(0, 2, 3, 1), (0, 0, around, right, around, below)).contiguous()

    def run(self, kernel: Any, one: Tensor, other: Tensor) -> None:
        """Transform `one` to `other`; maps are [n, h, w, C], tiles [36, tiles, C]."""
        maps = one if one.dim() == 4 else other
        sizes = *maps.shape[1:], self.down, self.across
        arrays: tuple[NDArray[np.float32], ...] = one.view(-1).numpy(), other.view(-1).numpy()
        if one is maps:
            parallel_for(
                len(maps), 1, lambda _, begin, end: kernel(arrays[0], *sizes, arrays[1], begin, end)
            )
        else:
            parallel_for(len(maps), 1, lambda _, begin, end: kernel(*arrays, *sizes, begin, end))

    def tiles(self, maps: Tensor, channels: int) -> Tensor:
        return maps.new_empty(36, len(maps) * self.down * self.across, channels)


class _Winograd(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        out, channels = weight.shape[:2]
        tiling, transformed = _Tiling.of(x, channels + out), _transform_weight(weight)
        y = x.new_empty(len(x), tiling.height, tiling.width, out)
        for part in tiling.chunks(x):
            maps = tiling.padded(x[part], 1)
            tiles = tiling.tiles(maps, channels)
            tiling.run(kernels.transform_input, maps, tiles)
            result = maps.new_empty(len(maps), 4 * tiling.down, 4 * tiling.across, out)
            tiling.run(kernels.transform_output, _products(tiles, transformed), result)
            y[part] = result[:, : tiling.height, : tiling.width]
        return y.permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        needs_x, needs_weight = ctx.needs_input_grad
        out, channels = weight.shape[:2]
        tiling, transformed = _Tiling.of(x, 2 * channels + out), _transform_weight(weight)
        grad_x = x.new_empty(len(x), tiling.height, tiling.width, channels) if needs_x else None
        grad_weight = torch.zeros_like(transformed) if needs_weight else None
        for part in tiling.chunks(x):
            maps = tiling.padded(grad[part], 0)
            grad_tiles = tiling.tiles(maps, out)
            tiling.run(kernels.transform_output_gradient, maps, grad_tiles)
            if grad_weight is not None:
                maps = tiling.padded(x[part], 1)
                tiles = tiling.tiles(maps, channels)
                tiling.run(kernels.transform_input, maps, tiles)
                grad_weight += _products(tiles.transpose(1, 2), grad_tiles)
            if grad_x is not None:
                result = maps.new_zeros(
                    len(maps), 4 * tiling.down + 2, 4 * tiling.across + 2, channels
                )
                tiling.run(
                    kernels.transform_input_gradient,
                    _products(grad_tiles, transformed.transpose(1, 2)),
                    result,
                )
                grad_x[part] = result[:, 1 : tiling.height + 1, 1 : tiling.width + 1]
        back = (
            None if grad_weight is None else _transform_weight_gradient(grad_weight, out, channels)
        )
        return None if grad_x is None else grad_x.permute(0, 3, 1, 2), back


def _products(one: Tensor, other: Tensor) -> Tensor:
    """Multiply [36, M, K] by [36, K, N], each of the points on its own."""
    if not (_ONEDNN and hasattr(torch.ops.mkldnn, "_linear_pointwise")):  # a private operation
        return torch.bmm(one, other)
    found = one.new_empty(len(one), one.shape[1], other.shape[2])
    for into, a, b in zip(found, one, other, strict=True):
        into.copy_(torch.ops.mkldnn._linear_pointwise(a, b.t(), None, "none", [], ""))
    return found


def _transform_weight(weight: Tensor) -> Tensor:
    """Transform [C', C, 3, 3] to [36, C, C']."""
    out, channels = weight.shape[:2]
    return (_both_axes(weight) @ weight.permute(2, 3, 1, 0).reshape(9, -1)).view(36, channels, out)


def _transform_weight_gradient(grad: Tensor, out: int, channels: int) -> Tensor:
    """Apply the adjoint of _transform_weight."""
    return (_both_axes(grad).T @ grad.view(36, -1)).view(3, 3, channels, out).permute(3, 2, 0, 1)


def _both_axes(like: Tensor) -> Tensor:
    """Return the matrix [36, 9] that transforms rows and columns of a kernel at once."""
    return torch.from_numpy(np.kron(kernels.WEIGHT, kernels.WEIGHT)).to(like)
