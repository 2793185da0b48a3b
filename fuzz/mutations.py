"""Damage to files: to bytes, to text, to JSON, and inside of containers whose checksums still fit."""

from __future__ import annotations

import io
import json
import re
import struct
import zipfile
from collections.abc import Callable
from random import Random
from typing import Any

__all__ = ["mutated"]

Mutation = Callable[[bytes, Random], bytes]

_MOST_BYTES = 8 << 20
"""No variant grows beyond this: the package must stand small files, large ones have their own limits."""

_NUMBERS = (
    "0", "-1", "1e999", "-1e999", "NaN", "Infinity", "1e-320", "99999999999999999999", "9" * 400, "9" * 5000,
    "2147483648", "-2147483649", "18446744073709551616", "0.5", "1e308", "٣", "1_000", "0x10", "", "+-1",
)  # fmt: skip
_TEXTS = (
    "", " ", "../../../../etc/passwd", "/etc/passwd", "a/../../b", "..", "C:\\x", "\\\\server\\x",
    "x" * 70_000, "\n", "\r", "\0", "\ud800", "e\u0301", "\u202e", "%s%n", "{}", "null", "true", "-",
    "--help", "'", '"', ",", ";", "\t", "<a>", "&amp;", "=1+1", "file:///etc/passwd", "http://[::1", "con",
)  # fmt: skip
_INTEGERS = (0, 1, -1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1)


def mutated(data: bytes, suffix: str, random: Random, other: bytes = b"") -> bytes:
    """Return damaged bytes of a file.

    Args:
        data: the file.
        suffix: of its name, which says what lies inside.
        random: chooses the damage.
        other: another file, whose parts may be spliced in.
    """
    inner = _INSIDE.get(suffix)
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        kinds: list[Mutation] = list(_BYTES)
        kinds.append(lambda whole, chance: _spliced(whole, other, chance))
        if inner is not None and random.random() < 0.7:
            kinds = [inner]
        elif suffix in _JSON and random.random() < 0.6:
            kinds = [_json]
        elif suffix in _TEXT_FILES and random.random() < 0.7:
            kinds = list(_TEXT)
        data = random.choice(kinds)(data, random)[:_MOST_BYTES]
    return data


# -- bytes


def _flip_bits(data: bytes, random: Random) -> bytes:
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 8, 64)) if data else 0):
        changed[_place(data, random)] ^= 1 << random.randrange(8)
    return bytes(changed)


def _overwrite(data: bytes, random: Random) -> bytes:
    place, length = _place(data, random), random.choice((1, 2, 4, 16, 256))
    block = random.choice((random.randbytes(length), bytes(length), b"\xff" * length))
    return data[:place] + block + data[place + length :]


def _lie(data: bytes, random: Random) -> bytes:
    """Overwrite what may be a length or a size with an extreme number."""
    size = random.choice((1, 2, 4, 8))
    number = random.choice(_INTEGERS) % 256**size
    place = _place(data, random)
    return data[:place] + number.to_bytes(size, random.choice(("little", "big"))) + data[place + size :]


def _cut_end(data: bytes, random: Random) -> bytes:
    return data[: _place(data, random)]


def _cut_out(data: bytes, random: Random) -> bytes:
    first, last = sorted((_place(data, random), _place(data, random)))
    return data[:first] + data[min(last, first + random.choice((1, 7, 100, 10**9))) :]


def _repeat(data: bytes, random: Random) -> bytes:
    place, length = _place(data, random), random.choice((1, 8, 100, 4096))
    return (
        data[:place] + data[place : place + length] * random.choice((2, 3, 50, 1000)) + data[place + length :]
    )


def _swap(data: bytes, random: Random) -> bytes:
    a, b, c = sorted(_place(data, random) for _ in range(3))
    return data[:a] + data[b:c] + data[a:b] + data[c:]


def _spliced(data: bytes, other: bytes, random: Random) -> bytes:
    return data[: _place(data, random)] + other[_place(other, random) :]


def _place(data: bytes, random: Random) -> int:
    """Return a position; that of a header as often as any other."""
    end = max(1, len(data))
    return random.randrange(min(end, 64)) if random.random() < 0.3 else random.randrange(end)


_BYTES: tuple[Mutation, ...] = (_flip_bits, _overwrite, _lie, _cut_end, _cut_out, _repeat, _swap)


# -- text


def _number(data: bytes, random: Random) -> bytes:
    return _replaced(data, rb"-?\d+(\.\d+)?([eE][-+]?\d+)?", random.choice(_NUMBERS), random)


def _word(data: bytes, random: Random) -> bytes:
    return _replaced(data, rb"[^\s,;:|\t\"'<>=(){}\[\]]+", random.choice(_TEXTS), random)


def _mark(data: bytes, random: Random) -> bytes:
    return _replaced(data, rb"[,;:|\t\"'<>=(){}\[\]\n]", random.choice((*_TEXTS, "\n\n")), random)


def _line(data: bytes, random: Random) -> bytes:
    lines = data.split(b"\n")
    place = random.randrange(len(lines))
    kind = random.randrange(4)
    if kind == 0:
        del lines[place]
    elif kind == 1:
        lines[place:place] = [lines[place]] * random.choice((1, 2, 2000))
    elif kind == 2:
        lines[place], lines[0] = lines[0], lines[place]
    else:
        lines[place] += random.choice((b",", b"\t", b" ", b'"')) * random.choice((1, 3, 5000))
    return b"\n".join(lines)


def _encoded(data: bytes, random: Random) -> bytes:
    text = data.decode("utf-8", "replace")
    name = random.choice(("utf-16", "utf-16-le", "utf-32", "utf-8-sig", "latin-1", "cp037"))
    return text.encode(name, "replace")


def _replaced(data: bytes, pattern: bytes, text: str, random: Random) -> bytes:
    found = list(re.finditer(pattern, data))
    if not found:
        return _flip_bits(data, random)
    chosen = random.choice(found)
    return data[: chosen.start()] + text.encode("utf-8", "surrogatepass") + data[chosen.end() :]


_TEXT: tuple[Mutation, ...] = (_number, _number, _word, _word, _mark, _line, _encoded, *_BYTES[:4])
_TEXT_FILES = frozenset(
    (".csv", ".tsv", ".txt", ".json", ".jsonl", ".yaml", ".eaf", ".xml", ".vtt", ".srt", ".annot", ".boris")
)


# -- JSON


def _json(data: bytes, random: Random) -> bytes:
    """Change one value of a JSON text; of JSON lines, in one of the lines."""
    try:
        return _dumped(_changed(json.loads(data), random), random).encode("utf-8", "surrogatepass")
    except (ValueError, RecursionError):
        lines = data.split(b"\n")
        place = random.randrange(len(lines))
        try:
            lines[place] = _dumped(_changed(json.loads(lines[place]), random), random).encode()
        except (ValueError, RecursionError):
            return _flip_bits(data, random)
        return b"\n".join(lines)


def _changed(data: Any, random: Random) -> Any:
    """Replace, remove, rename or repeat one value at any depth."""
    if not isinstance(data, dict | list) or not data or random.random() < 0.15:
        return _other_value(data, random)
    key = random.choice(list(data)) if isinstance(data, dict) else random.randrange(len(data))
    if random.random() < 0.7 and isinstance(data[key], dict | list) and data[key]:
        data[key] = _changed(data[key], random)
        return data
    kind = random.randrange(6)
    if kind == 0:
        del data[key]
    elif kind == 1 and isinstance(data, dict):
        data[random.choice((*_TEXTS, str(key) + "z"))] = data.pop(key)
    elif kind == 1:
        data[key:key] = [data[key]] * random.choice((1, 2000))
    else:
        data[key] = _other_value(data[key], random)
    return data


def _other_value(value: Any, random: Random) -> Any:
    if isinstance(value, str) and random.random() < 0.3:
        # Descriptions are JSON inside of JSON.
        return _json(value.encode("utf-8", "surrogatepass"), random).decode("utf-8", "replace")
    values: tuple[Any, ...] = (
        None, True, False, 0, -1, 1, 2**31, 2**63, 10**30, 10**400, 0.5, -0.5, 1e308, 1e-320, float("nan"),
        float("inf"), [], {}, [[]], [None], {"a": None}, {"": ""}, [1, "a"], [float("nan")] * 3, [0] * 5000,
        "_DEEP_LIST_", "_DEEP_TABLE_", *_TEXTS,
    )  # fmt: skip
    return random.choice(values)


def _dumped(data: Any, random: Random) -> str:
    text = json.dumps(data, ensure_ascii=random.random() < 0.5)
    depth = random.choice((90, 3000, 200_000))
    text = text.replace('"_DEEP_LIST_"', "[" * depth + "]" * depth)
    return text.replace('"_DEEP_TABLE_"', '{"a":' * depth + "1" + "}" * depth)


_JSON = frozenset((".json", ".jsonl", ".boris"))


# -- inside of containers


def _safetensors(data: bytes, random: Random) -> bytes:
    """Change the header, the descriptions in it, or its length; the numbers behind it stay."""
    if len(data) < 8:
        return data
    size = int.from_bytes(data[:8], "little")
    header, body = data[8 : 8 + size], data[8 + size :]
    kind = random.randrange(5)
    if kind == 0:
        return struct.pack("<Q", random.choice(_INTEGERS) % 2**64) + data[8:]
    if kind == 1:
        words = (b"\x00\x00\xc0\x7f", b"\x00\x00\x80\x7f", b"\xff\xff\x7f\x7f", bytes(4))
        place = 4 * random.randrange(max(1, len(body) // 4))
        return data[: 8 + size] + body[:place] + random.choice(words) + body[place + 4 :]
    try:
        described = json.loads(header)
        metadata = described.get("__metadata__", {})
        if kind == 2 or not metadata:
            described = _changed(described, random)
        else:
            key = random.choice(list(metadata))
            metadata[key] = _json(metadata[key].encode(), random).decode("utf-8", "replace")
        header = _dumped(described, random).encode("utf-8", "replace")
    except (AttributeError, ValueError, RecursionError):
        header = _flip_bits(header, random)
    return struct.pack("<Q", len(header)) + header + body


def _archive(data: bytes, random: Random) -> bytes:
    """Change a member of a zip archive, which gets a new checksum, or its name."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
    except Exception:  # damaged by an earlier mutation, in one of many ways
        return _flip_bits(data, random)
    if not members:
        return data
    name = random.choice(list(members))
    content = members.pop(name)
    if random.random() < 0.8:
        content = random.choice((*_BYTES, _npy_header, _npy_header, _number, _word))(content, random)
    else:
        name = random.choice((*filter(None, _TEXTS[:8]), "x" * 300, name + "z"))
    written = io.BytesIO()
    kind = random.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    with zipfile.ZipFile(written, "w", kind) as archive:
        for member, inside in {**members, name.replace("\0", "_"): content[:_MOST_BYTES]}.items():
            archive.writestr(zipfile.ZipInfo(member.encode("utf-8", "replace").decode()), inside)
    return written.getvalue()


def _npy_header(data: bytes, random: Random) -> bytes:
    """Change the text that describes an array, and keep its length right."""
    end = data.find(b"\n", 10)
    if not data.startswith(b"\x93NUMPY") or end < 0:
        return _flip_bits(data, random)
    texts = (
        "'|O'",
        "'<f4'",
        "'<c16'",
        "'<U1'",
        "'V8'",
        "[('a', '<f8')]",
        "'<m8[s]'",
        "'>f8'",
        "'<f2'",
        "'?'",
        "'S0'",
    )
    shapes = ("()", "(0,)", "(1, 1)", "(99999999999, 99999999999)", "(-1, 2)", "(2**40,)", "(1,)*9", "None")
    header = data[10:end].decode("latin-1")
    header = random.choice(
        (
            re.sub(r"'descr': [^,]+", lambda _: f"'descr': {random.choice(texts)}", header),
            re.sub(r"\([^)]*\)", lambda _: random.choice(shapes), header),
            "(" * 5000,
            "{" + header,
        )
    )
    return data[:8] + struct.pack("<H", len(header) + 1) + header.encode("latin-1") + b"\n" + data[end + 1 :]


def _onnx(data: bytes, random: Random) -> bytes:
    """Change the description in the metadata of an exported model, and keep the lengths right."""
    import onnx

    try:
        model = onnx.load_model_from_string(data)
    except Exception:  # damaged by an earlier mutation
        return _flip_bits(data, random)
    if not model.metadata_props or random.random() < 0.3:
        return random.choice(_BYTES)(data, random)
    entry = random.choice(list(model.metadata_props))
    if isinstance(entry.value, str):  # bytes, if an earlier mutation made it something else than UTF-8
        entry.value = _json(entry.value.encode(), random).decode("utf-8", "replace")
    changed: bytes = model.SerializeToString()
    return changed


_INSIDE: dict[str, Mutation] = {
    ".safetensors": _safetensors,
    ".npz": _archive,
    ".pth": _archive,
    ".pt2": _archive,
    ".onnx": _onnx,
}
