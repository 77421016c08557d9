"""Reading a shard and the catalogue: the right samples, and an error that names the file where one is damaged."""

import json
import shutil
from io import BytesIO

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import soundfile

from mixit_lightning.errors import UserError
from mixit_lightning.streaming.catalogue import read_catalogue
from mixit_lightning.streaming.reading import ShardFile, schema
from mixit_lightning.streaming.storage import Storage


def flac(samples, rate=8000):
    sound = BytesIO()
    soundfile.write(sound, samples, rate, format="FLAC")
    return sound.getvalue()


def shard(path, *, columns=None, **changes):
    """A shard of one row."""
    sound = {"bytes": changes.pop("sound", flac(0.1 * np.ones(8000))), "path": "a.flac"}
    row = {"audio": sound, "recording": "a.wav", "channel": 0, "start": 1.0, "seconds": 1.0, "rms": 0.1, **changes}
    table = pyarrow.Table.from_pylist([row], columns or schema(8000, "0" * 64))
    pyarrow.parquet.write_table(table, path, compression="NONE", write_page_checksum=True)
    return path


def test_a_crop_is_the_part_that_was_asked_for(tmp_path):
    samples = np.round(np.linspace(-0.5, 0.5, 8000) * 2**15) / 2**15
    file = ShardFile(shard(tmp_path / "a.parquet", sound=flac(samples), rms=0.25), 8000, 1)
    for position, first in ((0.0, 0), (0.5, 3500), (1.0, 7000)):
        name, crop = file.crop(0, position, 1000)
        assert name == "a.wav from 1.0 s"
        np.testing.assert_allclose(crop, 4 * samples[first : first + 1000], atol=1e-6)
    for position, first in ((0.0, 0), (0.5, 1000), (1.0, 2000)):
        _, crop = file.crop(0, position, 10000)
        np.testing.assert_allclose(crop[first : first + 8000], 4 * samples, atol=1e-6)
        assert len(crop) == 10000 and not crop[:first].any() and not crop[first + 8000 :].any()


@pytest.mark.parametrize(
    "change",
    [
        {"sound": b"fLaC" + bytes(1000)},
        {"sound": flac(np.ones(8000))[:60]},
        {"sound": flac(np.zeros((800, 2)))},
        {"sound": flac(np.zeros(800), 16000)},
        {"rms": 0.0},
        {"rms": float("nan")},
        {"rms": None},
        {"start": None},
        {"audio": None},
        {"audio": {"bytes": None, "path": None}},
        {"columns": pyarrow.schema([("rms", pyarrow.float64())])},
    ],
)
def test_rows_that_are_wrong_are_named(tmp_path, change):
    path = shard(tmp_path / "a.parquet", **change)
    with pytest.raises(UserError, match=f"{path}: row 0 "):
        ShardFile(path, 8000, 1).crop(0, 0.5, 400)


def test_files_that_are_no_such_shards_are_named(tmp_path):
    path = shard(tmp_path / "a.parquet")
    with pytest.raises(UserError, match=f"{path}: .* 1 rows .* 2"):
        ShardFile(path, 8000, 2)
    path.write_bytes(b"PAR1")
    with pytest.raises(UserError, match=str(path)):
        ShardFile(path, 8000, 1)


def test_no_changed_bit_changes_what_is_read(packed, tmp_path):
    original = (packed / "train-00000.parquet").read_bytes()
    path = tmp_path / "a.parquet"

    def read(content):
        path.write_bytes(content)
        file = ShardFile(path, 8000, rows)
        return [file.row(number) for number in range(rows)]

    rows = pyarrow.parquet.read_metadata(packed / "train-00000.parquet").num_row_groups
    expected, rng, refused = read(original), np.random.default_rng(0), 0
    for _ in range(200):
        content = bytearray(original)
        # Some of them in the footer, which says where everything is.
        content[rng.integers(len(content) - 4000 if rng.random() < 0.3 else 0, len(content))] ^= 1 << rng.integers(8)
        try:
            assert read(content) == expected
        except UserError as error:
            assert str(path) in str(error)
            refused += 1
    assert refused > 120


@pytest.fixture
def copy(packed, tmp_path):
    return shutil.copytree(packed, tmp_path / "shards")


def change(folder, key, value):
    content = part = json.loads((folder / "catalogue.json").read_text())
    for group in key[:-1]:
        part = part[group]
    part[key[-1]] = value
    (folder / "catalogue.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (("shards", 0, "name"), "../../etc/passwd"),
        (("shards", 0, "name"), "train-00000.parquet\n"),
        (("shards", 0, "plan"), "../a"),
        (("shards", 0, "bytes"), "many"),
        (("shards", 0, "recordings"), []),
        (("shards", 0, "recordings"), [0, 2**31]),
        (("format",), 2),
        (("hours",), {"all": 1}),
    ],
)
def test_a_catalogue_that_is_wrong_is_refused_with_the_key(copy, key, value):
    change(copy, key, value)
    with pytest.raises(UserError, match=rf"catalogue\.json: {'.'.join(map(str, key))}"):
        read_catalogue(Storage(str(copy)))


def test_a_catalogue_that_is_no_json_or_missing_is_named(copy):
    (copy / "catalogue.json").write_text("[" * 10**5)
    with pytest.raises(UserError, match=r"catalogue\.json: "):
        read_catalogue(Storage(str(copy)))
    (copy / "catalogue.json").unlink()
    with pytest.raises(UserError, match=r"catalogue\.json: .*`mixit shard` writes it"):
        read_catalogue(Storage(str(copy)))


def test_the_fingerprint_is_that_of_the_shards(copy):
    before = read_catalogue(Storage(str(copy))).fingerprint
    change(copy, ("licence",), "CC0-1.0")
    change(copy, ("shards", 0, "sha256"), "as earlier catalogues had it")
    assert read_catalogue(Storage(str(copy))).fingerprint == before
    change(copy, ("shards", 0, "plan"), "a" * 64)
    assert read_catalogue(Storage(str(copy))).fingerprint != before
