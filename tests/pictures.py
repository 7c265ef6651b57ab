"""Pictures of every mode and format with the pixels they stand for, and files that pretend to be enormous."""

import io
import string
import struct
import zlib

import numpy as np
from PIL import Image

RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (24, 40, 3), dtype=np.uint8)
BLOCKS = NOISE[:3, :5].repeat(8, axis=0).repeat(8, axis=1)  # flat 8x8 blocks survive JPEG's rounding


TURNS = {  # EXIF 2.32, table 6: how the upright photo is stored for each orientation
    1: lambda photo: photo,
    2: lambda photo: photo[:, ::-1],
    3: lambda photo: photo[::-1, ::-1],
    4: lambda photo: photo[::-1],
    5: lambda photo: photo.transpose(1, 0, 2),
    6: lambda photo: np.rot90(photo, 1),
    7: lambda photo: photo[::-1, ::-1].transpose(1, 0, 2),
    8: lambda photo: np.rot90(photo, -1),
}


def png(size, depth, color, rows, *chunks):
    """A PNG written by hand, for the bit depths that Pillow does not write."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, depth, color, 0, 0, 0))
    body = b"".join(chunk(*each) for each in chunks) + chunk(b"IDAT", zlib.compress(b"".join(b"\0" + r for r in rows)))
    return b"\x89PNG\r\n\x1a\n" + header + body + chunk(b"IEND", b"")


def tiff(size, depth, photometric, data, sample_format=1):
    """A grey little-endian TIFF of one strip written by hand."""
    tags = {256: size[0], 257: size[1], 258: depth, 259: 1, 262: photometric, 273: 8, 277: 1, 278: size[1]}
    tags |= {279: len(data), 339: sample_format}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + struct.pack("<H", len(tags)) + entries + bytes(4)


def bmp_with_alpha(pixels):
    """A BMP of 32 bits a pixel with a mask for alpha, which Pillow does not write; pixels: uint8 [h, w, 4], RGBA."""
    height, width, _ = pixels.shape
    data = pixels[::-1, :, [2, 1, 0, 3]].tobytes()
    masks = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    about = struct.pack("<IiiHHIIiiII", 108, width, height, 1, 32, 3, len(data), 0, 0, 0, 0) + masks + bytes(52)
    return b"BM" + struct.pack("<IHHI", 122 + len(data), 0, 0, 122) + about + data


def saved(pixels, form, mode=None, **options):
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    file = io.BytesIO()
    (image if mode is None else image.convert(mode)).save(file, form, **options)
    return file.getvalue()


def grey_as_rgb(grey):
    """uint8 [h, w, 3] from grey levels 0-255 of any dtype, rounded to the nearest."""
    return np.repeat(np.floor(np.asarray(grey, np.float64) + 0.5).astype(np.uint8)[..., None], 3, axis=-1)


def over_white(rgb, alpha):
    """Straight alpha 0-255 composited over white."""
    share = np.asarray(alpha, np.float64)[..., None] / 255
    return np.floor(rgb * share + 255 * (1 - share) + 0.5).astype(np.uint8)


def cmyk_as_rgb(cmyk):
    ink = 1 - cmyk.astype(np.float64) / 255
    return np.floor(255 * ink[..., :3] * ink[..., 3:] + 0.5).astype(np.uint8)


def lab_as_rgb(lab):
    """CIE 1976 L*a*b* (D50) to sRGB by the standards' formulas, adapted to D65 by Bradford's matrix."""
    fy = (lab[..., 0] + 16) / 116
    f = np.stack([fy + lab[..., 1] / 500, fy, fy - lab[..., 2] / 200], -1)
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * [0.9642, 1.0, 0.8249]
    to_linear = [
        [3.1338561, -1.6168667, -0.4906146],
        [-0.9787684, 1.9161415, 0.0334540],
        [0.0719453, -0.2289914, 1.4052427],
    ]
    linear = np.clip(xyz @ np.transpose(to_linear), 0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.floor(255 * encoded + 0.5).astype(np.uint8)


def palette_image(indices, colours):
    image = Image.frombytes("P", indices.shape[::-1], indices.tobytes())
    image.putpalette(colours.tobytes())
    return image


def modes():
    """Yields (what it is, the file's bytes, the expected uint8 [h, w, 3])."""
    height, width, _ = NOISE.shape
    size = (width, height)
    grey, alpha = NOISE[..., 0], NOISE[..., 1]
    yield "RGB PNG", saved(NOISE, "PNG"), NOISE
    yield "RGB BMP", saved(NOISE, "BMP"), NOISE
    yield "RGB WebP, lossless", saved(NOISE, "WEBP", lossless=True), NOISE
    yield "RGB TIFF, LZW", saved(NOISE, "TIFF", compression="tiff_lzw"), NOISE
    yield "RGB JPEG", saved(BLOCKS, "JPEG", quality=100, subsampling=0), BLOCKS
    yield "grey PNG", saved(grey, "PNG"), grey_as_rgb(grey)
    yield "grey JPEG", saved(BLOCKS[..., 0], "JPEG", quality=100), grey_as_rgb(BLOCKS[..., 0])

    bits = grey > 127
    yield "1-bit PNG", saved(Image.fromarray(bits), "PNG"), grey_as_rgb(bits * 255)
    yield "1-bit TIFF, group 4", saved(Image.fromarray(bits), "TIFF", compression="group4"), grey_as_rgb(bits * 255)
    nibbles = grey >> 4
    packed = [(row[0::2] << 4 | row[1::2]).tobytes() for row in nibbles]
    yield "4-bit grey PNG", png(size, 4, 0, packed), grey_as_rgb(nibbles * 17)

    deep = RNG.integers(0, 65536, (height, width, 3), dtype=np.uint16)
    ramp = np.linspace(0, 65535, height * width).astype(np.uint16).reshape(height, width)
    big = [row.astype(">u2").tobytes() for row in ramp]
    yield "16-bit grey PNG", png(size, 16, 0, big), grey_as_rgb(ramp / 257)
    clear = struct.pack(">H", ramp[3, 4])
    expected = grey_as_rgb(ramp / 257)
    expected[3, 4] = 255
    yield "16-bit grey PNG, one colour transparent", png(size, 16, 0, big, (b"tRNS", clear)), expected
    yield "16-bit grey TIFF", tiff(size, 16, 1, ramp.tobytes()), grey_as_rgb(ramp / 257)
    yield "16-bit grey TIFF, white is zero", tiff(size, 16, 0, ramp.tobytes()), grey_as_rgb(255 - ramp / 257)
    big_endian = Image.frombytes("I;16B", size, ramp.astype(">u2").tobytes())
    yield "16-bit grey TIFF, big-endian", saved(big_endian, "TIFF"), grey_as_rgb(ramp / 257)
    yield "16-bit RGB PNG", png(size, 16, 2, [row.astype(">u2").tobytes() for row in deep]), deep / 257
    deep_alpha = np.concatenate([deep, ramp[..., None]], -1)
    expected = over_white(deep >> 8, ramp >> 8)  # Pillow keeps the high bytes of 16-bit colour
    yield "16-bit RGBA PNG", png(size, 16, 6, [row.astype(">u2").tobytes() for row in deep_alpha]), expected
    twelve = ramp >> 4
    pairs = twelve.reshape(-1, 2)
    packed = np.stack([pairs[:, 0] >> 4, (pairs[:, 0] & 15) << 4 | pairs[:, 1] >> 8, pairs[:, 1] & 255], -1)
    yield "12-bit grey TIFF", tiff(size, 12, 1, packed.astype(np.uint8).tobytes()), grey_as_rgb(twelve / 4095 * 255)
    yield "32-bit TIFF of 16-bit values", saved(ramp.astype(np.int32), "TIFF"), grey_as_rgb(ramp / 257)
    yield "32-bit TIFF of 8-bit values", saved(grey.astype(np.int32), "TIFF"), grey_as_rgb(grey)
    wide = ramp.astype(np.uint32) * 65537
    yield "unsigned 32-bit TIFF", tiff(size, 32, 1, wide.tobytes()), grey_as_rgb(ramp / 257)
    unit = (ramp / 65535).astype(np.float32)
    yield "float TIFF, 0 to 1", saved(unit, "TIFF"), grey_as_rgb(unit * 255)
    yield "float TIFF, -20 to 235", saved(unit * 255 - 20, "TIFF"), grey_as_rgb(np.clip(unit * 255 - 20, 0, 255))
    holed = unit.copy()
    holed[5, 6] = np.nan
    yield "float TIFF with a NaN", saved(holed, "TIFF"), grey_as_rgb(np.nan_to_num(holed) * 255)

    colours = RNG.integers(0, 256, (256, 3), dtype=np.uint8)
    indexed = palette_image(grey, colours)
    yield "palette PNG", saved(indexed, "PNG"), colours[grey]
    yield "palette GIF", saved(indexed, "GIF"), colours[grey]
    yield "palette BMP", saved(indexed, "BMP"), colours[grey]
    share = RNG.integers(0, 256, 256, dtype=np.uint8)
    yield (
        "palette PNG, alpha",
        saved(indexed, "PNG", transparency=share.tobytes()),
        over_white(colours[grey], share[grey]),
    )
    expected = np.where((grey == 7)[..., None], 255, colours[grey])
    yield "palette GIF, one colour transparent", saved(indexed, "GIF", transparency=7), expected
    others = [palette_image(255 - grey, colours), palette_image(grey // 2, colours)]
    yield "animated GIF", saved(indexed, "GIF", save_all=True, append_images=others), colours[grey]
    frames = [Image.fromarray(NOISE), Image.fromarray(255 - NOISE)]
    yield "animated WebP", saved(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True), NOISE
    yield "animated PNG", saved(frames[0], "PNG", save_all=True, append_images=frames[1:]), NOISE
    yield "two-page TIFF", saved(frames[0], "TIFF", save_all=True, append_images=frames[1:]), NOISE

    rgba = np.concatenate([NOISE, alpha[..., None]], -1)
    yield "RGBA PNG", saved(rgba, "PNG"), over_white(NOISE, alpha)
    yield "RGBA TIFF", saved(rgba, "TIFF"), over_white(NOISE, alpha)
    yield "RGBA WebP", saved(rgba, "WEBP", lossless=True, exact=True), over_white(NOISE, alpha)
    yield (
        "grey + alpha PNG",
        saved(Image.fromarray(rgba[..., :2].copy(), "LA"), "PNG"),
        over_white(grey_as_rgb(grey), alpha),
    )
    expected = np.where((NOISE[0, 0] == NOISE).all(-1, keepdims=True), 255, NOISE)
    yield "RGB PNG, one colour transparent", saved(NOISE, "PNG", transparency=tuple(map(int, NOISE[0, 0]))), expected
    expected = np.where((grey == 9)[..., None], 255, grey_as_rgb(grey))
    yield "grey PNG, one level transparent", saved(grey, "PNG", transparency=9), expected

    cmyk = np.concatenate([NOISE, alpha[..., None] // 2], -1)
    yield "CMYK TIFF", saved(Image.fromarray(cmyk, "CMYK"), "TIFF"), cmyk_as_rgb(cmyk)
    inks = np.concatenate([BLOCKS, BLOCKS[..., 1:2] // 4], -1)
    yield "CMYK JPEG (Adobe's inverted)", saved(Image.fromarray(inks, "CMYK"), "JPEG", quality=100), cmyk_as_rgb(inks)
    ycc = np.stack([NOISE[..., 0] // 2 + 60, NOISE[..., 1] // 4 + 96, NOISE[..., 2] // 4 + 96], -1)
    y, cb, cr = np.moveaxis(ycc - np.array([0.0, 128.0, 128.0]), -1, 0)
    rgb = np.stack([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb], -1)
    yield "YCbCr TIFF", saved(Image.fromarray(ycc, "YCbCr"), "TIFF"), np.clip(np.floor(rgb + 0.5), 0, 255)
    lab = np.stack([NOISE[..., 0] // 2 + 60, NOISE[..., 1] // 8, NOISE[..., 2] // 8], -1) - np.array([0, 16, 16])
    image = Image.frombytes("LAB", size, np.mod(lab, 256).astype(np.uint8).tobytes())
    yield "LAB TIFF", saved(image, "TIFF"), lab_as_rgb(lab / [2.55, 1, 1])


MODES = list(modes())


def bombs():
    """Yields (what it is, the bytes) of small files that unpack to, or claim, enormous pictures."""
    side = 60_000
    yield "PNG of 60,000 x 60,000, in full", png((side, side), 1, 0, [bytes(side // 8) * 1000])
    yield "PNG of 2**31 - 1", png((2**31 - 1, 2**31 - 1), 8, 2, [b""])
    yield "PNG just over the limit", png((10_001, 10_000), 1, 0, [b""])
    yield "PNG with 300 MB of text", png((8, 8), 8, 0, [], (b"zTXt", b"a\0\0" + zlib.compress(bytes(300_000_000), 9)))
    profile = (b"iCCP", b"a\0\0" + zlib.compress(bytes(300_000_000), 9))
    yield "PNG with a profile of 300 MB", png((side, side), 8, 0, [], profile)
    yield (
        "GIF screen",
        b"GIF89a" + struct.pack("<HH", 65535, 65535) + saved(palette_image(NOISE[..., 0], NOISE[0]), "GIF")[10:],
    )
    gif = bytearray(saved(palette_image(NOISE[..., 0], NOISE[0]), "GIF"))
    frame = gif.index(b"," + bytes(4) + struct.pack("<HH", 40, 24))
    gif[frame + 5 : frame + 9] = struct.pack("<HH", 65535, 65535)
    yield "GIF frame", bytes(gif)
    bmp = saved(NOISE, "BMP")
    yield "BMP", bmp[:18] + struct.pack("<ii", side, side) + bmp[26:]
    run_length = bytearray(saved(palette_image(NOISE[..., 0], NOISE[0]), "BMP"))
    run_length[18:34] = struct.pack("<iiHHI", side, side, 1, 8, 1)
    yield "BMP, run-length", bytes(run_length)
    yield "TIFF", tiff((side, side), 8, 1, b"abc")
    yield "TIFF, 2**32 - 1", tiff((2**32 - 1, 2**32 - 1), 16, 1, b"abc")
    group4 = saved(Image.new("1", (16, 24)), "TIFF", compression="group4")
    for tag, length in [(256, 16), (257, 24)]:
        entry = struct.pack("<HHII", tag, 3, 1, length)
        assert entry in group4
        group4 = group4.replace(entry, struct.pack("<HHII", tag, 4, 1, side))
    yield "TIFF, group 4", group4
    jpeg = saved(NOISE, "JPEG")
    start = jpeg.index(b"\xff\xc0") + 5
    yield "JPEG", jpeg[:start] + struct.pack(">HH", 65500, 65500) + jpeg[start + 4 :]
    webp = saved(NOISE, "WEBP", lossless=True)
    start = webp.index(b"VP8L") + 9
    yield "WebP", webp[:start] + struct.pack("<I", 0x0FFFFFFF) + webp[start + 4 :]  # 14 bits of width, 14 of height


BOMBS = list(bombs())


def mutated(rng, seeds):
    """One picture file with bits flipped, its end or middle cut out, a stretch zeroed, or another spliced in."""
    content = bytearray(seeds[rng.integers(len(seeds))])
    start, stop = sorted(rng.integers(0, len(content) + 1, 2))
    match rng.integers(6):
        case 0:
            for _ in range(rng.integers(1, 20)):
                content[rng.integers(len(content))] ^= 1 << rng.integers(8)
        case 1:
            content[rng.integers(min(64, len(content)))] = rng.integers(256)  # headers are where the sizes are
        case 2:
            del content[start:]
        case 3:
            del content[start:stop]
        case 4:
            content[start:stop] = bytes(stop - start)
        case 5:
            other = seeds[rng.integers(len(seeds))]
            content[start:] = other[rng.integers(len(other)) :]
    return bytes(content)


def hostile_names():
    """Names as bytes: every ASCII sign but / and NUL, control and bidi characters, broken UTF-8, formulas, options."""
    signs = [chr(code) for code in range(1, 160) if chr(code) not in string.ascii_letters + string.digits + "/."]
    signs += ["\u200b", "\u2028", "\u202e", "\u2066", "\ufeff", "\U0001f600", "=1+1", "\x1b[2J\x1b]0;me\7"]
    names = [f"{sign}x.png".encode() for sign in signs]
    names += [b"\xff\xfe.png", b"caf\xe9.png", b"\xed\xa0\x80.png", b"-", b"--help", b"[bold]x.png", b"$x_{1}$.png"]
    return [*names, b"a" * 255, b"..png", b"%s%n.png", b"{0}.png", b"`id`.png", b"$(id).png", b" .png ", b"\n=1\n.png"]
