"""The two roundings that say which pixels a resized, centred crop shows; training, evaluation and photos share them.

They take Python's and NumPy's integers and tensors of whole numbers alike. Nothing is imported: the process that
decodes a photo starts in a twentieth of a second.
"""


def resized_side(side, shorter, size):
    """Returns what `side` becomes where an image's `shorter` side is resized to `size` pixels: rounded down.

    Source: torchvision's Resize(size): int(size * side / shorter).
    """
    return size * side // shorter


def centred(room):
    """Returns where a centred window starts that leaves `room` pixels over, which may be negative: half to even.

    Source: torchvision's CenterCrop: int(round(room / 2.0)).
    """
    return room // 2 + room % 4 // 3  # half of 4n + 3 lies between an odd number and the even one above it
