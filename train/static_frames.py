"""Images as the network sees them: the same grey frame at every time step."""

import torch
from torch import Tensor
from torch.nn import functional as F

SENSOR_SHARE = 28 / 34  # of the sensor's side that an object fills: N-MNIST shows 28 x 28 digits on 34 x 34 pixels


def static_frames(images: Tensor, sensor: tuple[int, int]) -> Tensor:
    """Images uint8 [B, h, w] as float [B, 2, H, W] in [0, 1], centred on the sensor (H, W), the same on both polarity channels.

    Knowledge Transfer (arXiv 2303.13077) feeds the value channel of HSV (for a grey image: the image) to both channels, identical at
    every step. An image smaller than half the sensor is enlarged bilinearly until its longer side fills the share of the sensor that
    a digit fills in N-MNIST; others are padded with 0 (the paper resizes to the sensor; padding keeps the geometry of the recordings).
    """
    frames = images.to(torch.float32)[:, None] / 255.0
    height, width = frames.shape[-2:]
    if 2 * height < sensor[0] and 2 * width < sensor[1]:
        scale = SENSOR_SHARE * min(sensor[0] / height, sensor[1] / width)
        height, width = round(height * scale), round(width * scale)
        frames = F.interpolate(frames, size=(height, width), mode="bilinear", align_corners=False)
    if height > sensor[0] or width > sensor[1]:
        raise ValueError(f"images of {height} x {width} do not fit on a sensor of {sensor}")
    top, left = (sensor[0] - height) // 2, (sensor[1] - width) // 2
    frames = F.pad(frames, (left, sensor[1] - width - left, top, sensor[0] - height - top))
    return frames.expand(-1, 2, -1, -1)
