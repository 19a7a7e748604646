"""Masks as other tools write them: one mask as PNG bytes in every encoding, by an encoder of its own and by Pillow."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Bools = NDArray[np.bool_]
GRAY, RGB, PALETTE, GRAY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6


def chunk(name: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")


def header(width: int, height: int, depth: int = 8, kind: int = GRAY, rest: bytes = b"\0\0\0") -> bytes:
    return b"\x89PNG\r\n\x1a\n" + chunk(
        b"IHDR", width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([depth, kind]) + rest
    )


def rows(values: NDArray[Any], depth: int) -> bytes:
    """The pixels (H, W) or (H, W, channels) as PNG packs them, each row after its filter, which is none."""
    packed = []
    for row in values.reshape(len(values), -1):
        if depth == 16:
            data = row.astype(">u2").tobytes()
        elif depth == 8:
            data = row.astype(np.uint8).tobytes()
        else:
            bits = (row.astype(np.uint8)[:, None] >> np.arange(depth - 1, -1, -1)) & 1
            data = np.packbits(bits.ravel().astype(bool)).tobytes()
        packed.append(b"\0" + data)
    return b"".join(packed)


def encode(values: NDArray[Any], kind: int = GRAY, depth: int = 8, **parts: bytes) -> bytes:
    """A PNG file; parts: further chunks by their names, before the pixels."""
    height, width = values.shape[:2]
    between = b"".join(chunk(name.encode(), data) for name, data in parts.items())
    pixels = zlib.compress(rows(values, depth))
    middle = len(pixels) // 2
    split = chunk(b"IDAT", pixels[:middle]) + chunk(b"IDAT", pixels[middle:])
    return header(width, height, depth, kind) + between + split + chunk(b"IEND", b"")


def pillow(image: Image.Image, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", **options)
    return file.getvalue()


def noise(mask: Bools, low: int = 30, high: int = 220) -> NDArray[np.uint8]:
    """A picture of many colours, (H, W, 3), not the same for every mask."""
    seed = zlib.crc32(np.packbits(mask).tobytes())
    return np.random.default_rng(seed).integers(low, high, (*mask.shape, 3)).astype(np.uint8)


def level(mask: Bools, top: int = 255) -> NDArray[Any]:
    return np.where(mask, top, 0)


def coloured(mask: Bools, colour: tuple[int, ...], ground: tuple[int, ...] = (0, 0, 0)) -> NDArray[np.uint8]:
    return np.where(mask[..., None], np.array(colour), np.array(ground)).astype(np.uint8)


def with_alpha(colours: NDArray[np.uint8], mask: Bools, top: int = 255) -> NDArray[Any]:
    return np.dstack([colours, level(mask, top)])


def labels(mask: Bools, number: int, palette: list[int], **options: Any) -> bytes:
    image = Image.fromarray(level(mask, number).astype(np.uint8), mode="P")
    image.putpalette(palette)
    return pillow(image, **options)


DAVIS = [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0]

ENCODINGS: dict[str, Callable[[Bools], bytes]] = {
    "gray": lambda mask: encode(level(mask)),
    "gray, limited range": lambda mask: encode(np.where(mask, 235, 16)),
    "gray, 1 bit": lambda mask: encode(level(mask, 1), depth=1),
    "gray, 2 bits": lambda mask: encode(level(mask, 3), depth=2),
    "gray, 4 bits": lambda mask: encode(level(mask, 15), depth=4),
    "gray, 16 bits": lambda mask: encode(level(mask, 65535), depth=16),
    "gray, Pillow's L": lambda mask: pillow(Image.fromarray(level(mask).astype(np.uint8)), optimize=True),
    "gray, Pillow's 1": lambda mask: pillow(Image.fromarray(mask)),
    "gray, Pillow's I;16": lambda mask: pillow(Image.fromarray(level(mask, 65535).astype(np.uint16))),
    "gray, black transparent": lambda mask: encode(level(mask), tRNS=b"\0\0"),
    "gray, a white ground transparent": lambda mask: encode(level(~mask), tRNS=b"\0\xff"),
    "gray, 16 bits, a level transparent": lambda mask: encode(
        np.where(mask, 0x1234, 0x5678), depth=16, tRNS=b"\x56\x78"
    ),
    "gray, 2 bits, a level transparent": lambda mask: encode(np.where(mask, 1, 2), depth=2, tRNS=b"\0\2"),
    "RGB, a colour transparent": lambda mask: encode(
        coloured(mask, (9, 8, 7), (200, 100, 50)), RGB, tRNS=b"\0\xc8\0\x64\0\x32"
    ),
    "gray, an unused level transparent": lambda mask: encode(level(mask), tRNS=b"\0\7"),
    "gray, 1 bit, black transparent": lambda mask: encode(level(mask, 1), depth=1, tRNS=b"\0\0"),
    "gray and alpha, opaque": lambda mask: encode(np.dstack([level(mask), level(mask | True)]), GRAY_ALPHA),
    "gray and alpha, white": lambda mask: encode(np.dstack([level(mask | True), level(mask)]), GRAY_ALPHA),
    "gray and alpha, premultiplied": lambda mask: encode(np.dstack([level(mask), level(mask)]), GRAY_ALPHA),
    "gray and alpha, 16 bits": lambda mask: encode(
        np.dstack([level(mask | True, 65535), level(mask, 65535)]), GRAY_ALPHA, 16
    ),
    "RGB": lambda mask: encode(coloured(mask, (255, 255, 255)), RGB),
    "RGB, a little noise": lambda mask: encode(coloured(mask, (225, 225, 225)) + noise(mask, 0, 30), RGB),
    "RGB, 16 bits": lambda mask: encode(coloured(mask, (255, 255, 255)).astype(int) * 257, RGB, 16),
    "RGB, black transparent": lambda mask: encode(coloured(mask, (255, 255, 255)), RGB, tRNS=bytes(6)),
    "RGB, red on black": lambda mask: encode(coloured(mask, (128, 0, 0)), RGB),
    "RGBA, opaque": lambda mask: encode(with_alpha(coloured(mask, (255, 255, 255)), mask | True), RGB_ALPHA),
    "RGBA, a cut-out": lambda mask: encode(with_alpha(noise(mask), mask), RGB_ALPHA),
    "RGBA, a cut-out, premultiplied": lambda mask: encode(
        with_alpha(noise(mask) * mask[..., None].astype(np.uint8), mask), RGB_ALPHA
    ),
    "RGBA, white": lambda mask: encode(with_alpha(noise(mask, 255, 256), mask), RGB_ALPHA),
    "RGBA, 16 bits": lambda mask: encode(with_alpha(noise(mask) * np.uint16(257), mask, 65535), RGB_ALPHA, 16),
    "RGBA, Pillow's": lambda mask: pillow(Image.fromarray(with_alpha(noise(mask), mask).astype(np.uint8))),
    "palette, DAVIS's": lambda mask: labels(mask, 2, DAVIS),
    "palette, DAVIS's, 1 bit": lambda mask: encode(level(mask, 1), PALETTE, 1, PLTE=bytes(DAVIS[:6])),
    "palette, black and white": lambda mask: encode(level(mask, 1), PALETTE, 1, PLTE=b"\0\0\0\xff\xff\xff"),
    "palette, white and black": lambda mask: encode(level(~mask, 1), PALETTE, 1, PLTE=b"\xff\xff\xff\0\0\0"),
    "palette, red and black": lambda mask: encode(level(~mask, 1), PALETTE, 2, PLTE=b"\xff\0\0\0\0\0"),
    "palette, a gray ramp": lambda mask: labels(mask, 255, [each for level in range(256) for each in [level] * 3]),
    "palette, background transparent": lambda mask: labels(mask, 1, DAVIS, transparency=0),
    "palette, a cut-out of many colours": lambda mask: encode(
        np.where(mask, 1 + noise(mask)[..., 0] % 200, 0), PALETTE, PLTE=bytes(range(256)) * 3, tRNS=b"\0"
    ),
}
"""Each writes a mask that has the object in some pixels and not in others."""


def write_folder(folder: Path, files: Iterable[bytes], names: str = "{:05d}.png") -> Path:
    folder.mkdir(parents=True)
    for index, data in enumerate(files):
        (folder / names.format(index)).write_bytes(data)
    return folder
