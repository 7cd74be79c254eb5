"""Pictures of others: formats by content, whole or refused, of a limited size, and what RGB of 8 bits cannot hold."""

from __future__ import annotations

import io
import struct
import subprocess
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image

from silmm.picture_reader import AS_SEEN, AS_STORED, FORMATS, PictureError, decode, read_file, size_of

GREY = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40
RED, BLUE, WHITE = [255, 0, 0], [0, 0, 255], [255, 255, 255]
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"


def saved(image: Image.Image, format_: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def raw_png(size: tuple[int, int], lines: bytes, bits: int = 8, color: int = 0, extra: bytes = b"") -> bytes:
    """A PNG of these lines, its checksums right, whatever the lines are."""
    return png_of(size, zlib.compress(lines, 9), bits, color, extra)


def png_of(size: tuple[int, int], packed: bytes, bits: int = 8, color: int = 0, extra: bytes = b"") -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, bits, color, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + extra + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def photo() -> Image.Image:
    """With enough of a pattern that a truncated file lacks some of it."""
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8))


@pytest.mark.parametrize("format_", FORMATS)
def test_every_format_is_read_whatever_it_is_called(format_: str) -> None:
    found = decode(saved(Image.fromarray(GREY), format_, **({"lossless": True} if format_ == "WEBP" else {})))
    assert found.kind == (3, 2, format_, False, False, False)
    assert found.pixels_HWC.dtype == np.uint8
    assert np.abs(found.pixels_HWC.astype(int) - GREY[..., None]).max() <= (8 if format_ == "JPEG" else 0)


def test_of_an_animation_the_first_frame() -> None:
    frames = [Image.new("RGB", (2, 1), tuple(color)) for color in (RED, BLUE)]
    for format_ in ("GIF", "WEBP", "PNG"):
        content = saved(frames[0], format_, save_all=True, append_images=frames[1:], duration=100, lossless=True)
        assert decode(content).pixels_HWC.tolist() == [[RED, RED]]


@pytest.mark.parametrize(
    "content",
    [EPS, saved(photo(), "TIFF"), saved(photo(), "PPM"), saved(photo(), "ICO"), b"", b"<html>", b"\x89PNG\r\n\x1a\n"],
    ids=["EPS", "TIFF", "PPM", "ICO", "empty", "HTML", "PNG without a header"],
)
def test_other_formats_are_refused(content: bytes) -> None:
    with pytest.raises(PictureError, match="it is no whole PNG or JPEG or WEBP or BMP or GIF"):
        decode(content)


def test_no_program_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Sequence[str]] = []
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", "/bin/true")
    for name in ("check_call", "call", "run", "Popen"):
        monkeypatch.setattr(subprocess, name, lambda command, *_, **__: started.append(command))
    with pytest.raises(PictureError):
        decode(EPS)
    assert not started


@pytest.mark.parametrize("format_", FORMATS)
def test_truncated_files_are_refused(format_: str) -> None:
    content = saved(photo(), format_)
    for left in (len(content) * share // 8 for share in range(1, 8)):
        with pytest.raises(PictureError):
            decode(content[:left])


@pytest.mark.parametrize(
    "content",
    [
        saved(photo())[:-12],  # without its end
        saved(photo()).replace(b"IDAT", b"IDAT" + bytes(4), 1),  # a checksum that is wrong
        png_of((60, 40), zlib.compress(bytes(61 * 40), 0)[:900]),  # cut off, though its checksums are right
    ],
    ids=["no end", "checksum", "cut off within"],
)
def test_a_png_is_checked_by_checksums_and_by_decoding(content: bytes) -> None:
    with pytest.raises(PictureError):
        decode(content)


def test_a_bomb_is_refused_by_its_header(recwarn: pytest.WarningsRecorder) -> None:
    """The first with Pillow's warning, the second with its error; the claimed pixels are not there to be decoded."""
    for side in (10_000, 20_000, 2**31 - 1):
        bomb = raw_png((side, side), b"")
        for read in (decode, size_of):
            with pytest.raises(PictureError, match=r"more pixels than 67,108,864"):
                read(bomb)
    with pytest.raises(PictureError, match="8193 x 8192: more pixels than 67,108,864"):
        decode(raw_png((8193, 8192), b""))
    assert size_of(raw_png((8192, 8192), b"")) == (8192, 8192)


def test_a_file_is_measured_before_it_is_read(tmp_path: Path) -> None:
    with (tmp_path / "huge.png").open("wb") as stream:
        stream.truncate(2**28 + 1)
    with pytest.raises(PictureError, match="268,435,457 bytes: expected at most 268,435,456"):
        read_file(tmp_path / "huge.png")
    with pytest.raises(PictureError, match="it is no file"):
        read_file(Path("/dev/zero"))
    with pytest.raises(OSError, match="No such file"):
        read_file(tmp_path / "gone.png")


def test_sixteen_bits_are_scaled() -> None:
    """By the upper byte, in grey as in colours: no picture turns white."""
    values = np.array([[0, 255, 256, 32768, 65535]], np.uint16)
    grey = decode(saved(Image.fromarray(values)))
    assert grey.kind.deep and not grey.kind.transparent
    assert grey.pixels_HWC.tolist() == [[[level] * 3 for level in (0, 0, 1, 128, 255)]]
    colors = np.repeat(values[..., None], 3, -1)
    content = raw_png((5, 1), b"\0" + colors.astype(">u2").tobytes(), 16, color=2)
    assert decode(content).pixels_HWC.tolist() == grey.pixels_HWC.tolist()


def test_a_transparent_grey_of_sixteen_bits() -> None:
    content = saved(Image.fromarray(np.array([[256, 257]], np.uint16)), transparency=256)
    assert decode(content, AS_SEEN).pixels_HWC.tolist() == [[WHITE, [1] * 3]]
    assert decode(content).kind.transparent


def test_a_transparent_colour_of_sixteen_bits_is_refused() -> None:
    key = chunk(b"tRNS", struct.pack(">HHH", 1000, 2000, 3000))
    with pytest.raises(PictureError, match="a transparent colour of 16 bits"):
        decode(raw_png((1, 1), b"\0" + struct.pack(">HHH", 1000, 2000, 3000), 16, color=2, extra=key))


# Where the stored rows (0 40 80, 120 160 200) are after each orientation: EXIF 2.32, tag 274.
TURNED = {
    1: GREY, 2: GREY[:, ::-1], 3: GREY[::-1, ::-1], 4: GREY[::-1],
    5: GREY.T, 6: GREY[::-1].T, 7: GREY[::-1, ::-1].T, 8: GREY[:, ::-1].T,
}  # fmt: skip


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("format_", ["PNG", "WEBP"])
def test_orientation(format_: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    content = saved(Image.fromarray(GREY), format_, exif=exif, lossless=True)
    upright, stored = decode(content, AS_SEEN), decode(content, AS_STORED)
    assert upright.pixels_HWC[..., 0].tolist() == TURNED[orientation].tolist()
    assert upright.kind[:2] == TURNED[orientation].shape[::-1]
    assert stored.pixels_HWC[..., 0].tolist() == GREY.tolist()
    assert upright.kind.turned is stored.kind.turned is (orientation > 1)


@pytest.mark.parametrize("value", [0, 9, 60_000])
def test_an_orientation_that_is_none_turns_nothing(value: object) -> None:
    exif = Image.Exif()
    exif[274] = value
    assert not decode(saved(Image.fromarray(GREY), exif=exif.tobytes()), AS_SEEN).kind.turned
    assert not decode(saved(Image.fromarray(GREY), exif=b"Exif\0\0 no exif at all"), AS_SEEN).kind.turned


def palette(format_: str) -> bytes:
    image = Image.new("P", (2, 1))
    image.putpalette([*RED, *BLUE])
    image.putdata([0, 1])
    return saved(image, format_, transparency=0)


def half_clear() -> Image.Image:
    image = Image.new("RGBA", (2, 1), (*RED, 0))
    image.putpixel((1, 0), (*BLUE, 255))
    return image


@pytest.mark.parametrize(
    "content",
    [saved(half_clear()), saved(half_clear(), "WEBP", lossless=True, exact=True), palette("PNG"), palette("GIF"),
     saved(half_clear().convert("RGB"), transparency=tuple(RED))],
    ids=["RGBA", "WebP", "palette", "GIF", "colour key"],
)  # fmt: skip
def test_what_is_transparent_is_white_or_its_hidden_colour(content: bytes) -> None:
    seen, stored = decode(content, AS_SEEN), decode(content, AS_STORED)
    assert seen.pixels_HWC.tolist() == [[WHITE, BLUE]]
    assert stored.pixels_HWC.tolist() == [[RED, BLUE]]
    assert seen.kind.transparent and stored.kind.transparent


def test_an_alpha_channel_that_hides_nothing_is_not_transparent() -> None:
    content = saved(half_clear().convert("RGB").convert("RGBA"))
    assert not decode(content).kind.transparent
    assert decode(content, AS_SEEN).pixels_HWC.tolist() == [[RED, BLUE]]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (saved(Image.new("LA", (1, 1), (0, 128))), [127] * 3),
        (saved(Image.new("1", (1, 1), 1)), WHITE),
        (saved(Image.new("CMYK", (1, 1), (0, 0, 0, 255)), "JPEG"), [0] * 3),
        (saved(Image.new("YCbCr", (1, 1), (255, 128, 128)), "JPEG"), WHITE),
        (saved(Image.new("L", (1, 1), 7), "BMP"), [7] * 3),
    ],
    ids=["grey with alpha", "black and white", "CMYK", "YCbCr", "BMP of a palette"],
)
def test_other_channels_become_rgb(content: bytes, expected: list[int]) -> None:
    assert decode(content, AS_SEEN).pixels_HWC.tolist() == [[expected]]


def flip(content: bytes, rng: np.random.Generator) -> bytes:
    made = np.frombuffer(content, np.uint8).copy()
    made[rng.integers(0, len(made), 4)] ^= rng.integers(1, 256, 4, dtype=np.uint8)
    return made.tobytes()


def cut(content: bytes, rng: np.random.Generator) -> bytes:
    start, length = rng.integers(0, len(content)), rng.integers(1, 30)
    return content[:start] + content[start + length :]


def grow(content: bytes, rng: np.random.Generator) -> bytes:
    place = int(rng.integers(0, len(content) - 4))
    return content[:place] + b"\xff\xff\xff\x7f" + content[place + 4 :]


@pytest.mark.parametrize("change", [flip, cut, grow])
@pytest.mark.parametrize("format_", FORMATS)
def test_damage_is_a_picture_or_one_error(
    format_: str, change: Callable[[bytes, np.random.Generator], bytes], recwarn: pytest.WarningsRecorder
) -> None:
    content, rng = saved(photo(), format_), np.random.default_rng(1)
    for _ in range(40):
        with suppress(PictureError):
            found = decode(change(content, rng), AS_SEEN).pixels_HWC
            assert found.dtype == np.uint8 and found.ndim == 3 and found.shape[2] == 3
