"""Untrusted files: valid ones, changed in ways that are a function of a number alone."""

import copy
import io
import json
import struct
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
import yaml
from safetensors.torch import load, save

Mutation = Callable[[bytes, np.random.Generator], bytes]

INTEGERS = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
"""At which programs go wrong."""


class Trap:
    """Makes a file where it is unpickled."""

    def __init__(self, place: str) -> None:
        self.place = place

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (self.place, "w")


# Of any file.


def cut(content: bytes, rng: np.random.Generator) -> bytes:
    """Its end is missing, seldom all of it."""
    return content[: rng.integers(len(content)) if len(content) else 0]


def flip(content: bytes, rng: np.random.Generator) -> bytes:
    """A few bits anywhere, or in what is likely to be the header."""
    changed = bytearray(content)
    end = len(changed) if rng.random() < 0.5 else min(64, len(changed))
    for _ in range(rng.integers(1, 9)):
        changed[rng.integers(end)] ^= 1 << rng.integers(8)
    return bytes(changed)


def overwrite(content: bytes, rng: np.random.Generator) -> bytes:
    """A whole number of four bytes in the header becomes one at which programs go wrong."""
    changed = bytearray(content)
    place = int(rng.integers(max(1, min(96, len(changed) - 4))))
    changed[place : place + 4] = struct.pack("<I", INTEGERS[rng.integers(len(INTEGERS))])
    return bytes(changed)


def noise(content: bytes, rng: np.random.Generator) -> bytes:
    """Random bytes in place of a span."""
    start, end = sorted(rng.integers(len(content) + 1, size=2))
    return content[:start] + rng.bytes(end - start) + content[end:]


def gap(content: bytes, rng: np.random.Generator) -> bytes:
    """A span is missing."""
    start, end = sorted(rng.integers(len(content) + 1, size=2))
    return content[:start] + content[end:]


def twice(content: bytes, rng: np.random.Generator) -> bytes:
    """A span is there twice."""
    start, end = sorted(rng.integers(len(content) + 1, size=2))
    return content[:end] + content[start:]


def nothing_like_it(content: bytes, rng: np.random.Generator) -> bytes:
    """Something else altogether."""
    others = (b"", b"\0" * 4096, b"\xff\xfe" + "text".encode("utf-16-le"), b"%PDF-1.7\n", b"PK\x03\x04", b"\x89PNG\r\n")
    return others[rng.integers(len(others))]


BYTES = (cut, flip, overwrite, noise, gap, twice, nothing_like_it)


def mutate_bytes(content: bytes, rng: np.random.Generator) -> bytes:
    """Any of these."""
    return pick(BYTES, rng)(content, rng)


def pick(choices: Any, rng: np.random.Generator) -> Any:
    """One of them."""
    return choices[rng.integers(len(choices))]


# Of text.

WORDS = (
    "",
    "nan",
    "inf",
    "-1",
    "0",
    "1e400",
    "9" * 200,
    "..",
    "../../../escaped",
    "../secret.wav",
    "/etc/passwd",
    "${oc.env:HOME}",
    "null",
    "[]",
    "{}",
    "\0",
    "\u202e\N{PILE OF POO}",
    "a" * 300,
)
"""In place of a word."""


def mutate_text(content: bytes, rng: np.random.Generator) -> bytes:
    """A word, a line or some bytes of it."""
    kind = rng.integers(5)
    if kind == 0:
        return mutate_bytes(content, rng)
    lines = content.decode().split("\n")
    place = int(rng.integers(len(lines)))
    if kind == 1:
        lines.insert(int(rng.integers(len(lines) + 1)), lines[place])
    elif kind == 2:
        del lines[place]
    else:
        for separator in ("\t", ",", " ", "="):
            if separator in lines[place]:
                break
        words = lines[place].split(separator)
        words[rng.integers(len(words))] = pick(WORDS, rng)
        lines[place] = separator.join(words)
    return "\n".join(lines).encode()


# Of plain types, wherever they are written.

VALUES: tuple[Any, ...] = (
    None,
    True,
    [],
    {},
    [[]],
    "",
    "text",
    "nan",
    "../../../escaped",
    0,
    -1,
    0.5,
    float("nan"),
    float("inf"),
    10**9,
    -(10**18),
    10**400,
    "${oc.env:HOME}",
    "${missing}",
)
"""In place of anything."""


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something stands in plain types."""
    yield path
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        yield from paths(part, (*path, key))


def mutate_plain(value: Any, rng: np.random.Generator, values: tuple[Any, ...] = VALUES) -> Any:
    """Another value somewhere, or something missing."""
    changed = copy.deepcopy(value)
    found = list(paths(changed))
    # The upper levels, where most names are looked up, as often as all that is below.
    shallow = [path for path in found if len(path) < 3]
    path = pick(shallow if rng.random() < 0.5 else found, rng)
    if not path:
        return pick(values, rng)
    parent = changed
    for key in path[:-1]:
        parent = parent[key]
    if rng.random() < 0.25:
        del parent[path[-1]]
    else:
        parent[path[-1]] = pick(values, rng)
    return changed


def mutate_json(content: bytes, rng: np.random.Generator) -> bytes:
    """A value or some bytes of it."""
    kind = rng.integers(6)
    if kind == 0:
        return mutate_bytes(content, rng)
    if kind == 1:
        return pick((b"[" * 100_000, b'{"a":' * 100_000, b"9" * 10_000, b"[NaN, Infinity]", b'"\\ud800"'), rng)
    return json.dumps(mutate_plain(json.loads(content), rng)).encode()


CODE = (
    "!!python/object/apply:os.getcwd []",
    "!!python/name:os.system",
    "!!python/object/new:type [a, [], {}]",
)


def mutate_yaml(content: bytes, rng: np.random.Generator) -> bytes:
    """A value, some bytes of it, or what only YAML can do."""
    kind = rng.integers(6)
    if kind == 0:
        return mutate_bytes(content, rng)
    if kind == 1:
        text = content.decode()
        key = next(line.partition(":")[0] for line in text.splitlines() if line[:1].isalpha())
        return pick(
            (
                *(f"{text}\nextra: {code}\n".encode() for code in CODE),
                b"? " * 3000 + b"a",
                b"[" * 3000,
                f"{text}\n{key}: again\n".encode(),
                f"{text}\n? [a, b]\n: unhashable\n".encode(),
                f"{text}\n2026-13-45: 0o9\n".encode(),
            ),
            rng,
        )
    if kind == 2:
        return mutate_text(content, rng)
    return yaml.safe_dump(mutate_plain(yaml.safe_load(content), rng), sort_keys=False).encode()


# Of checkpoints.


def mutate_checkpoint(content: bytes, rng: np.random.Generator) -> bytes:
    """A value, a tensor, a pickled object, or some bytes of it; the trap makes the file `SPRUNG` where it works."""
    kind = rng.integers(6)
    if kind == 0:
        return mutate_bytes(content, rng)
    if kind == 1:
        return mutate_zip(content, rng)
    state = torch.load(io.BytesIO(content), weights_only=True)
    names = [name for name, value in state["state_dict"].items() if isinstance(value, torch.Tensor)]
    name = pick(names, rng)
    weight = state["state_dict"][name]
    if kind == 2:
        odd = (
            torch.zeros(()).expand(10**6, 10**6),
            torch.zeros(0),
            torch.full_like(weight, float("nan")),
            weight.to(torch.complex64),
            weight.to_sparse(),
            weight.long(),
            torch.zeros(1).expand((2,) * 60),
            weight[None],
            "a tensor",
            Trap("SPRUNG"),
        )[rng.integers(10)]
        state["state_dict"][name] = odd
    elif kind == 3:
        state["settings"] = mutate_plain(state.get("settings"), rng)
    else:
        state = mutate_plain(state, rng, (*VALUES, Trap("SPRUNG"), torch.zeros(3)))
    file = io.BytesIO()
    torch.save(state, file)
    return file.getvalue()


def mutate_zip(content: bytes, rng: np.random.Generator) -> bytes:
    """The archive of a checkpoint: a part changed, missing, twice, or said to be larger than it is."""
    archive = zipfile.ZipFile(io.BytesIO(content))
    parts = [(entry.filename, archive.read(entry)) for entry in archive.infolist()]
    place = int(rng.integers(len(parts)))
    place = next(i for i, (name, _) in enumerate(parts) if name.endswith("data.pkl")) if rng.random() < 0.5 else place
    name, part = parts[place]
    how = rng.integers(5)
    if how == 0:
        parts[place] = name, mutate_bytes(part, rng)
    elif how == 1:
        del parts[place]
    elif how == 2:
        parts.append((f"archive/../../{name}", part))
    elif how == 3:  # sizes stand there as whole numbers of four bytes, after a J
        spots = [i for i, byte in enumerate(part[:-4]) if byte in b"JM"] or [0]
        spot = pick(spots, rng)
        parts[place] = name, part[: spot + 1] + struct.pack("<I", pick(INTEGERS, rng)) + part[spot + 5 :]
    else:
        return mutate_weights(parts)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as target:
        for name, part in parts:
            target.writestr(name, part)
    return file.getvalue()


def mutate_weights(parts: list[tuple[str, bytes]]) -> bytes:
    """The archive of a checkpoint in which a weight unfolds to more than a command may take."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as target:
        for name, part in parts:
            with target.open(name, "w", force_zip64=True) as stream:
                stream.write(part)
                for _ in range(80 if name.endswith("data/0") else 0):
                    stream.write(bytes(2**24))
    return file.getvalue()


def mutate_safetensors(content: bytes, rng: np.random.Generator) -> bytes:
    """Its description, its table of tensors, or some bytes of it."""
    kind = rng.integers(4)
    if kind == 0:
        return mutate_bytes(content, rng)
    (length,) = struct.unpack("<Q", content[:8])
    table, weights = json.loads(content[8 : 8 + length]), content[8 + length :]
    if kind == 1:
        table = mutate_plain(table, rng)
    elif kind == 2:
        description = mutate_plain(json.loads(table["__metadata__"]["description"]), rng)
        return save(load(content), {"description": json.dumps(description)})
    else:
        name = pick([name for name in table if name != "__metadata__"], rng)
        table[name] = mutate_plain(table[name], rng)
    text = json.dumps(table).encode()
    return struct.pack("<Q", len(text)) + text + weights


def mutate_rooms(content: bytes, rng: np.random.Generator) -> bytes:
    """The archive of a bank of rooms: its bytes, or a column of it."""
    kind = rng.integers(4)
    if kind == 0:
        return mutate_bytes(content, rng)
    if kind == 1:
        archive = zipfile.ZipFile(io.BytesIO(content))
        parts = {entry.filename: archive.read(entry) for entry in archive.infolist()}
        name = pick(sorted(parts), rng)
        parts[name] = pick(
            (
                mutate_bytes(parts[name], rng),
                npy_header("<f4", (10**12,)),
                npy_header("<f4", (2**31, 2**31)),
                npy_header("|O", (3,)) + b"cos\ngetcwd\n(tR.",
            ),
            rng,
        )
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as target:
            for part, data in parts.items():
                target.writestr(part, data)
        return file.getvalue()
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        columns = dict(arrays.items())
    name = pick(sorted(columns), rng)
    column = np.atleast_1d(columns[name])
    odd = (column[:0], column[:-1], np.full(column.shape, -1), np.full(column.shape, np.nan), column[None], None)
    value = pick(odd, rng)
    if value is None:
        del columns[name]
    else:
        columns[name] = value
    file = io.BytesIO()
    np.savez(file, **columns)
    return file.getvalue()


def npy_header(kind: str, shape: tuple[int, ...]) -> bytes:
    """The beginning of an array that claims a shape."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": kind, "fortran_order": False, "shape": shape})
    return file.getvalue()


def mutate_shard(content: bytes, rng: np.random.Generator) -> bytes:
    """A shard: its bytes, its footer, or a row of it."""
    kind = rng.integers(4)
    if kind == 0:
        return mutate_bytes(content, rng)
    if kind == 1:  # which says where everything is
        (length,) = struct.unpack("<I", content[-8:-4])
        return content[: -8 - length] + mutate_bytes(content[-8 - length : -8], rng) + content[-8:]
    from pyarrow import BufferReader, Table
    from pyarrow.parquet import ParquetFile, ParquetWriter

    source = ParquetFile(BufferReader(content))
    columns = source.schema_arrow
    rows = source.read().to_pylist()
    for row in rows if kind == 2 else [pick(rows, rng)]:
        sound = row["audio"]["bytes"]
        name, value = pick(
            (
                ("rms", pick((0.0, -1.0, 1e-300, 1e300, float("nan"), float("inf"), None), rng)),
                ("start", pick((-1e300, float("nan"), float("inf"), None), rng)),
                ("recording", pick((*WORDS, "a" * 10**6, None), rng)),
                ("audio", pick((None, {"bytes": None, "path": None}, {"bytes": b"fLaC" * 1000, "path": "/a"}), rng)),
                ("audio", {"bytes": mutate_bytes(sound, rng), "path": "../../../escaped"}),
                ("audio", {"bytes": overwrite(sound, rng), "path": "a.flac"}),
            ),
            rng,
        )
        row[name] = value
    file = io.BytesIO()
    with ParquetWriter(file, columns, compression=pick(("NONE", "NONE", "ZSTD"), rng)) as writer:
        for row in rows[: None if rng.random() < 0.8 else -1]:
            writer.write_table(Table.from_pylist([row], columns))
    return file.getvalue()


# Of what is typed.

OVERRIDES = (
    "{key}",
    "{key}={word}",
    "{key}=[{word}",
    "{key}={{{word}:1",
    "+{key}={word}",
    "~{key}",
    "~{key}={word}",
    "{key}.{word}=1",
    "{key}='${{oc.decode:\"{word}\"}}'",
    "{key}=${{{key}}}",
    "++{key}.a.b.c={word}",
    "{key}@{word}=1",
    "{key}=range(1,1000000000)",
    "{key}=choice(1,2,3)",
    "={word}",
    "{word}",
)


def override(keys: list[str], rng: np.random.Generator) -> str:
    """A word of a command line."""
    return pick(OVERRIDES, rng).format(key=pick(keys, rng), word=pick(WORDS, rng).replace("\0", ""))
