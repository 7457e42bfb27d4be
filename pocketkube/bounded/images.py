"""Refuses images that would fill the memory when they are decoded, or are decoded to other colours."""

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image

from pocketkube.bounded.limits import Unreadable, plain_reasons

# What TensorFlow decodes.
FORMATS = ("PNG", "JPEG", "GIF", "BMP")
# Those of them that it also decodes to one channel.
_TO_ONE_CHANNEL = {"PNG", "JPEG"}
# Pillow's names of pixels that have one channel.
_GREY = {"L", "1", "I", "I;16"}
# How BMP files store pixels that TensorFlow takes for what they are; others it takes for these.
_PLAIN_BMP = {"L", "BGR", "BGRX", "BGRA"}
# What Pillow itself opens, as a page in black and white that takes next to nothing; of a photograph
# each pixel takes a bit at least.
_ALWAYS_PIXELS, _PIXELS_PER_BYTE = 178_956_970, 8
_BEGIN_BYTES = 16


class _Refused(Unreadable):
    """An image that is whole is not to be decoded."""


@dataclass(frozen=True)
class ImageHeader:
    """What an image says of itself.

    Attributes:
        size: Height and width.
        is_grey: Whether it has no colours.
        to_one_channel: Whether its format can be decoded to one channel.
    """

    size: tuple[int, int]
    is_grey: bool
    to_one_channel: bool


def image_header(path: Path) -> ImageHeader:
    """Reads the beginning of an image.

    Args:
        path: The file.

    Raises:
        Unreadable: If it is no image that can be decoded here, or has more pixels than may be expected
            of the file's size.
    """
    with plain_reasons(), path.open("rb") as file:
        return _header(file, path.stat().st_size)


def why_refused(image: bytes) -> str:
    """Why an encoded image is not to be decoded; empty where nothing is wrong with it.

    Nor is anything said of one that is damaged: its decoding does.
    """
    try:
        with plain_reasons():
            _header(BytesIO(image), len(image))
    except _Refused as error:
        return str(error)
    except Unreadable:
        pass
    return ""


def _header(file: BinaryIO, stored: int) -> ImageHeader:
    begin = file.read(_BEGIN_BYTES)
    file.seek(0)
    image = _reader(begin)(file)
    height, width = image.height, image.width
    most = max(_ALWAYS_PIXELS, _PIXELS_PER_BYTE * stored)
    if height * width > most:
        raise _Refused(
            f"it has {height} x {width} pixels in {stored} bytes, of which no more than {most} are "
            "decoded: make it smaller"
        )
    if image.format == "BMP" and not _is_plain(image):
        raise _Refused("it is a BMP with a palette, or of a rare kind: store it as PNG")
    return ImageHeader((height, width), image.mode in _GREY, image.format in _TO_ONE_CHANNEL)


def _is_plain(image: Any) -> bool:
    ((codec, _, _, (stored_as, *_)),) = image.tile
    return codec == "raw" and stored_as in _PLAIN_BMP


def _reader(begin: bytes) -> Callable[..., Any]:
    """What reads the header of a file that begins so.

    Image.open would first warn of many pixels, and refuse more, by a limit that all programs share.
    """
    Image.preinit()
    for name in FORMATS:
        reader, accepts = Image.OPEN[name]
        if accepts is not None and accepts(begin):
            return reader
    raise Unreadable(f"it is none of {', '.join(FORMATS)}: convert it to one of them")
