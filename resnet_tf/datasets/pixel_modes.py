"""Converts the pixels of any of Pillow's modes to RGB.

- Colour profiles are not applied: pixels are taken as sRGB.
- 16-bit grey is rounded to 8 bits; 16-bit colour keeps its 8 high bits.
- Grey of 32 bits, whole numbers or float (TIFF), has no agreed white: it is the smallest of 1, 255, 65535 and 2**32 - 1
  that is not below the largest value, or that value. What is below 0 is black.
- CMYK goes to RGB by (1 - C)(1 - K); a CMYK JPEG is read with Adobe's polarity.
- Of a PNG's single transparent colour Pillow knows those in 1-, 8- and 16-bit grey and 8-bit RGB.
"""

from PIL import Image

_BITS_PER_SAMPLE, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339  # TIFF tags


def to_rgb(image: Image.Image, over_white: bool) -> Image.Image:
    """Converts an image to RGB, without Pillow's clipping of 16-bit.

    Args:
        over_white: what is transparent becomes white; else opacity is dropped.
    """
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _grey(image).convert("RGB")
    if over_white and image.has_transparency_data and not _has_unused_alpha(image):
        if image.mode == "La":
            image = image.convert("LA")
        image = image if image.mode == "RGBA" else image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(image, mask=image.getchannel("A"))
        return white
    if image.mode == "LAB":
        from PIL import ImageCms  # here, not above: few files need it

        # What convert("RGB") does, but without the coarse tables that put dark colours off by up to seven levels.
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        flags = ImageCms.Flags.NOOPTIMIZE
        return ImageCms.buildTransform(lab, srgb, "LAB", "RGB", flags=flags).apply(image)
    return image if image.mode == "RGB" else image.convert("RGB")  # which would copy hundreds of megabytes


def _has_unused_alpha(image: Image.Image) -> bool:
    """Returns whether the fourth byte of a BMP's pixels, which is called alpha, was left at 0: the image is opaque."""
    return image.format == "BMP" and image.mode == "RGBA" and image.getextrema()[3] == (0, 0)


def _grey(image: Image.Image) -> Image.Image:
    """Scales grey of more than 8 bits to mode L, 0 (black) to 255 (white)."""
    import numpy as np  # here, not above: it would triple the decoder's start for a mode that few files have

    tags = getattr(image, "tag_v2", {})  # of a TIFF
    stored = np.asarray(image)
    if image.mode == "I" and tags.get(_SAMPLE_FORMAT, (1,)) == (1,):
        stored = stored.view(np.uint32)  # which Pillow has read as signed
    values = stored.astype(np.float32)
    if image.mode == "F":
        np.nan_to_num(values, copy=False, nan=0.0)
    if image.mode in ("I", "F"):
        largest = values.max()
        white = next((white for white in (1, 255, 65535, 2**32 - 1) if largest <= white), largest)
    else:
        white = 2 ** tags.get(_BITS_PER_SAMPLE, (16,))[0] - 1
    values *= 255 / white
    grey = (np.clip(values, 0, 255, out=values) + 0.5).astype(np.uint8)
    if tags.get(_PHOTOMETRIC) == 0:  # "white is zero", which Pillow follows up to 8 bits only
        grey = 255 - grey
    transparent = image.info.get("transparency")
    if transparent is not None:
        grey[stored == transparent] = 255
    return Image.fromarray(grey)
