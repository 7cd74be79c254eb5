"""One reader for pictures that others made: a few formats, recognised by content, of a limited size, decoded whole.

No other module opens a picture. Pillow would choose among some forty formats, and start Ghostscript for one of them.
"""

from __future__ import annotations

import io
import stat
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageOps

from silmm.typed_json import short

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")  # of an animated picture, the first frame
PIXELS = 2**26  # of a picture at most: 8192 x 8192; Pillow's own limit comes with a warning and is twice as much
BYTES = 2**28  # of a file at most
_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16")  # as Pillow names what these formats hold

warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # PIXELS is checked here, in one line


class PictureError(ValueError):
    """Not a picture that can be read: the message says why, and the caller says which one."""


class Decoding(NamedTuple):
    """What is done with that of a picture which its stored colours do not say."""

    upright: bool  # turned as its EXIF orientation says, else as it is stored
    on_white: bool  # what is transparent is laid on white, else its hidden colours are shown


AS_SEEN = Decoding(upright=True, on_white=True)  # as a viewer shows it
AS_STORED = Decoding(upright=False, on_white=False)  # as Pillow's `convert("RGB")` gives it


class Kind(NamedTuple):
    """What a picture was before it became RGB."""

    width: int  # pixels, as it is given: turned, where it was turned
    height: int
    format: str  # of FORMATS
    turned: bool  # its EXIF orientation is not the stored one
    transparent: bool  # in a pixel at least
    deep: bool  # 16 bits a channel, in grey: of each the upper eight are taken


class Picture(NamedTuple):
    """A decoded picture."""

    pixels_HWC: np.ndarray  # uint8 RGB `[H, W, 3]`
    kind: Kind


def read_file(path: Path) -> bytes:
    """The content of a picture's file. Raises OSError, and PictureError for what is no file or larger than BYTES."""
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise PictureError("it is no file")
    if found.st_size > BYTES:
        raise PictureError(f"{found.st_size:,} bytes: expected at most {BYTES:,}")
    return path.read_bytes()


def decode(content: bytes, how: Decoding = AS_STORED, formats: tuple[str, ...] = FORMATS) -> Picture:
    """A whole picture in 8 bits a channel. Raises PictureError for another format, a damaged or truncated file, more
    than PIXELS, and channels that have no known scale."""
    try:
        if "PNG" in formats and content.startswith(b"\x89PNG"):
            with _opened(content, formats) as image:
                image.verify()  # checksums, and the end: decoding looks at neither
        with _opened(content, formats) as image:
            image.load()
            return _decoded(image, how)
    except PictureError:
        raise
    except Exception as error:  # decoders raise nearly anything on damaged files
        raise PictureError(short(str(error) or type(error).__name__)) from None


def size_of(content: bytes, formats: tuple[str, ...] = FORMATS) -> tuple[int, int]:
    """Width and height by the header alone, as they are stored. Raises PictureError as `decode`."""
    try:
        with _opened(content, formats) as image:
            return image.size
    except PictureError:
        raise
    except Exception as error:  # as above
        raise PictureError(short(str(error) or type(error).__name__)) from None


def _opened(content: bytes, formats: tuple[str, ...]) -> Image.Image:
    """The header's picture, before any pixel is decoded."""
    try:
        image = Image.open(io.BytesIO(content), formats=formats)
    except Image.UnidentifiedImageError:
        raise PictureError(f"it is no whole {' or '.join(formats)}") from None
    except Image.DecompressionBombError:
        raise PictureError(f"more pixels than {PIXELS:,}") from None
    width, height = image.size
    if width * height > PIXELS:
        raise PictureError(f"{width} x {height}: more pixels than {PIXELS:,}")
    if image.mode not in _MODES:
        raise PictureError(f"channels of kind {image.mode}: expected 8 or 16 bits")
    return image


def _decoded(image: Image.Image, how: Decoding) -> Picture:
    turned = _is_turned(image)
    format_, deep = image.format or "", image.mode == "I;16"
    if turned and how.upright:
        image = ImageOps.exif_transpose(image)
    if deep:
        image = _in_eight_bits(image)
    transparent, clear_color = False, image.info.get("transparency")
    if image.mode == "RGB" and isinstance(clear_color, tuple) and max(clear_color) > 255:
        raise PictureError("a transparent colour of 16 bits a channel: save it with an alpha channel")
    if image.has_transparency_data:
        clear = image.convert("RGBA")
        transparent = bool(np.asarray(clear.getchannel("A")).min() < 255)
        if transparent and how.on_white:
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), clear)
    kind = Kind(*image.size, "JPEG" if format_ == "MPO" else format_, turned, transparent, deep)
    return Picture(np.asarray(image.convert("RGB")), kind)


def _is_turned(image: Image.Image) -> bool:
    try:
        return image.getexif().get(ExifTags.Base.Orientation) in range(2, 9)
    except Exception:  # as above; it says nothing of the pixels
        return False


def _in_eight_bits(image: Image.Image) -> Image.Image:
    """Of each value the upper eight bits, as Pillow does with colours of 16 bits; its `convert` would cut at 255."""
    grey = np.asarray(image)
    found = Image.fromarray((grey >> 8).astype(np.uint8))
    if (clear := image.info.get("transparency")) is not None:
        found.putalpha(Image.fromarray(np.where(grey == clear, 0, 255).astype(np.uint8)))
    return found
