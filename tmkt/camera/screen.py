"""Size at which a camera sees an image."""

# Of the sensor's side, filled by an object: N-MNIST shows 28 x 28 digits on 34 x 34 pixels.
SENSOR_SHARE = 28 / 34


def shown_size(image: tuple[int, int], sensor: tuple[int, int]) -> tuple[int, int]:
    """Compute the (height, width) in the sensor's pixels at which an image of (height, width) is
    shown.

    An image that is smaller than half the sensor is enlarged until its longer side fills the share
    of the sensor that a digit fills in N-MNIST; others keep their size. ValueError for one that is
    larger than the sensor.
    """
    height, width = image
    if height > sensor[0] or width > sensor[1]:
        raise ValueError(
            f"images of {width}x{height} do not fit on a sensor of {sensor[1]}x{sensor[0]}"
        )
    if 2 * height < sensor[0] and 2 * width < sensor[1]:
        scale = SENSOR_SHARE * min(sensor[0] / height, sensor[1] / width)
        return round(height * scale), round(width * scale)
    return height, width
