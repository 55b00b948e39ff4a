"""Weights as the products of bytes take them (products.py, tiles.py): groups of inputs of a channel
side by side, blocks of channels behind each other.
"""

import numpy as np
from numpy.typing import NDArray

BLOCK = 16  # channels that are multiplied together; rows of weights are padded to whole blocks
GROUP = 4  # inputs that are multiplied together
PACKED = BLOCK * GROUP  # bytes of weights


def pack(rows: NDArray[np.int8], height: int, columns: int, whole: int = GROUP) -> NDArray[np.int8]:
    """Pack rows of weights [height * columns * inputs, width].

    The width is whole blocks. The columns are those of the kernel that do not lie side by side in
    the source (1 if they do), and each is packed as a kernel of its own. The inputs of a row are
    filled up with zeros to whole groups. What comes is flat: columns, blocks, rows, groups,
    channels of the block, inputs of the group.
    """
    blocks, inputs = rows.shape[1] // BLOCK, len(rows) // (height * columns)
    groups = -(-inputs // whole) * whole // GROUP
    filled = np.zeros((height, columns, groups * GROUP, blocks, BLOCK), np.int8)
    filled[:, :, :inputs] = rows.reshape(height, columns, inputs, blocks, BLOCK)
    split = filled.reshape(height, columns, groups, GROUP, blocks, BLOCK)
    return np.ascontiguousarray(split.transpose(1, 4, 0, 2, 5, 3)).reshape(-1)
