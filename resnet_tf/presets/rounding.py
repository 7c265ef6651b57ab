"""The two roundings that decide which pixels a resized, centred crop shows, in training, evaluation and prediction.

They take Python's and NumPy's integers and tensors of whole numbers. Nothing is imported: the process that decodes a
photo must start within 50 milliseconds.
"""


def resized_side(side, shorter, size):
    """Returns the new length of `side` where an image's `shorter` side is resized to `size` pixels, rounded down.

    Source: torchvision's Resize(size): int(size * side / shorter).
    """
    return size * side // shorter


def centred(room):
    """Returns the start of a centred window that is `room` pixels smaller than the image; negative: larger.

    `room` / 2 is rounded, half to even.

    Source: torchvision's CenterCrop for room of 0 and more: int(round(room / 2.0)). It pads a smaller image by half,
    rounded down, which is a pixel less where room is -3, -7, -11 and so on.
    """
    return room // 2 + room % 4 // 3  # half of 4n + 3 lies between an odd number and the even one above it
