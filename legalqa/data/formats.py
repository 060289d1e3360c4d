"""What a file is by its first bytes, whatever its name says, and its text as UTF-8."""

import bz2
import gzip
import json
import lzma
import zlib
from pathlib import Path

from legalqa.errors import UserError

GUESSED = ["cp1251", "koi8_r", "cp866"]  # what old Russian files are in, if not in UTF-8
GUESSED_FROM_BYTES = 50_000

PARQUET = "Parquet"
DECOMPRESS = {"gzip": gzip.decompress, "bzip2": bz2.decompress, "xz": lzma.decompress}
SIGNATURES = {
    b"\x1f\x8b": "gzip",
    b"BZh91AY&SY": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"PAR1": PARQUET,
    b"PK\x03\x04": "an Excel file or a zip archive: save it as CSV, or unpack it",
    b"\xd0\xcf\x11\xe0": "an old Excel or Word file: save it as CSV",
    b"version https://git-lfs": "a Git LFS pointer, not the file itself: fetch it with: git lfs pull",
    b"(\xb5/\xfd": "compressed with zstd: unpack it",
    b"7z\xbc\xaf": "a 7z archive: unpack it",
    b"Rar!": "a RAR archive: unpack it",
    b"ARROW1": "an Arrow file: give the folder that save_to_disk made",
    b"SQLite format 3": "a SQLite database: export its table as CSV",
    b"%PDF": "a PDF",
}


def kind_of(content: bytes) -> str | None:
    """gzip, bzip2, xz, Parquet, or in words what else is no text, by the first bytes; None for what may be
    text."""
    return next((kind for start, kind in SIGNATURES.items() if content.startswith(start)), None)


def read_content(path: Path) -> bytes:
    """The bytes of a file, decompressed; those of a text in UTF-16 or UTF-32 as UTF-8, and none of a byte
    order mark.

    A UserError says what the file is if that is neither text nor Parquet.
    """
    content = path.read_bytes()
    kind = kind_of(content)
    if kind in DECOMPRESS:
        try:
            content = DECOMPRESS[kind](content)
        except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
            raise UserError(f"{path}: damaged {kind} file: {error}") from error
        kind = kind_of(content)
    if kind and kind != PARQUET:
        raise UserError(f"{path}: {f'compressed twice ({kind})' if kind in DECOMPRESS else kind}")
    encoding = json.detect_encoding(content)
    if encoding.startswith(("utf-16", "utf-32")):
        try:
            return content.decode(encoding).encode("utf-8").removeprefix(b"\xef\xbb\xbf")
        except UnicodeError:
            pass  # zeros or a mark by chance: the reader says what is wrong
    return content.removeprefix(b"\xef\xbb\xbf")


def not_utf8(content: bytes) -> str:
    """What bytes that are not UTF-8 seem to be, and what to do."""
    kind = kind_of(content)
    if kind:
        return f"not UTF-8 text but {kind}" + (
            "; python prepare_data.py reads it" if kind == PARQUET or kind in DECOMPRESS else ""
        )
    if json.detect_encoding(content).startswith(("utf-16", "utf-32")):
        return "not UTF-8 but UTF-16 or UTF-32; python prepare_data.py reads it"
    from charset_normalizer import from_bytes

    guess = from_bytes(content[:GUESSED_FROM_BYTES], cp_isolation=GUESSED).best()
    if guess is None or guess.encoding not in GUESSED:
        return "not UTF-8, nor an encoding that could be told; save it as UTF-8"
    return f"not UTF-8, it looks like {guess.encoding}; convert it, e.g. iconv -f {guess.encoding} -t utf-8"
