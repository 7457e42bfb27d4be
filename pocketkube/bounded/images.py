"""Refuses images that would fill the memory when they are decoded."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image

from pocketkube.bounded.limits import Unreadable, plain_reasons

# What TensorFlow decodes.
FORMATS = ("PNG", "JPEG", "GIF", "BMP")
# What Pillow itself opens, as a page in black and white that takes next to nothing; of a photograph
# each pixel takes a bit at least.
_ALWAYS_PIXELS, _PIXELS_PER_BYTE = 178_956_970, 8
_BEGIN_BYTES = 16


class _TooLarge(Unreadable):
    """An image has more pixels than may be expected."""


def image_header(path: Path) -> tuple[tuple[int, int], str]:
    """Height and width of an image, and Pillow's name of what its pixels are, as "L" or "RGB".

    Args:
        path: The file, of which the header is read.

    Raises:
        Unreadable: If it is no image that can be decoded here, or more pixels than may be expected of
            the file's size.
    """
    with plain_reasons(), path.open("rb") as file:
        return _header(file, path.stat().st_size)


def why_too_large(image: bytes) -> str:
    """What is wrong with an encoded image of more pixels than may be expected; empty where not.

    Nor is anything said of one that is damaged: its decoding does.
    """
    try:
        with plain_reasons():
            _header(BytesIO(image), len(image))
    except _TooLarge as error:
        return str(error)
    except Unreadable:
        pass
    return ""


def _header(file: BinaryIO, stored: int) -> tuple[tuple[int, int], str]:
    begin = file.read(_BEGIN_BYTES)
    file.seek(0)
    image = _reader(begin)(file)
    height, width, mode = image.height, image.width, image.mode
    most = max(_ALWAYS_PIXELS, _PIXELS_PER_BYTE * stored)
    if height * width > most:
        raise _TooLarge(
            f"it has {height} x {width} pixels in {stored} bytes, of which no more than {most} are "
            "decoded: make it smaller"
        )
    return (height, width), mode


def _reader(begin: bytes) -> Callable[..., Any]:
    """What reads the header of a file that begins so.

    Image.open would first warn of many pixels, and refuse more, by a limit that all programs share.
    """
    Image.preinit()
    for name in FORMATS:
        reader, accepts = Image.OPEN[name]
        if accepts is not None and accepts(begin):
            return reader
    raise Unreadable(f"it is none of {', '.join(FORMATS)}")
