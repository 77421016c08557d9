"""Untrusted shards: whatever they hold is refused with a message, and does nothing."""

import hashlib
import json
import shutil
from io import BytesIO

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import soundfile
from pydantic import ValidationError

from mixit_lightning.errors import UserError
from mixit_lightning.streaming.catalogue import MOST_ROWS, read_catalogue
from mixit_lightning.streaming.reading import ShardFile, schema
from mixit_lightning.streaming.storage import Storage


def flac(samples, rate=8000, format="FLAC"):
    sound = BytesIO()
    soundfile.write(sound, samples, rate, format=format)
    return sound.getvalue()


def row(**changes):
    sound = changes.pop("sound", None)
    sound = flac(0.1 * np.ones(8000)) if sound is None else sound
    plain = {"recording": "a.wav", "channel": 0, "start": 1.0, "seconds": 1.0, "rms": 0.1}
    return {"audio": {"bytes": sound, "path": "a.flac"}, **plain, **changes}


def write(path, *rows, columns=None, **options):
    columns = columns or schema(8000)
    options = {"compression": "NONE", **options}
    with pyarrow.parquet.ParquetWriter(path, columns, **options) as writer:
        for one in rows:
            writer.write_table(pyarrow.Table.from_pylist([one], columns))
    return path


def test_a_crop_is_the_part_that_was_asked_for(tmp_path):
    samples = np.round(np.linspace(-0.5, 0.5, 8000) * 2**15) / 2**15
    file = ShardFile(write(tmp_path / "a.parquet", row(sound=flac(samples), rms=0.25)), 8000, 1)
    for place, first in ((0.0, 0), (0.5, 3500), (1.0, 7000)):
        name, crop = file.crop(0, place, 1000)
        assert name == "a.wav from 1.0 s"
        np.testing.assert_allclose(crop, 4 * samples[first : first + 1000], atol=1e-6)
    for place, first in ((0.0, 0), (0.5, 1000), (1.0, 2000)):
        _, crop = file.crop(0, place, 10000)
        np.testing.assert_allclose(crop[first : first + 8000], 4 * samples, atol=1e-6)
        assert len(crop) == 10000 and not crop[:first].any() and not crop[first + 8000 :].any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sound": flac(np.zeros(800), format="WAV")}, "is no FLAC"),
        ({"sound": b"fLaC" + bytes(1000)}, "cannot be read as a shard"),
        ({"sound": flac(np.ones(8000))[:60]}, "cannot be read as a shard"),
        ({"sound": flac(np.zeros((800, 2)))}, "several channels"),
        ({"sound": flac(np.zeros(800), 16000)}, "is not 8000 Hz"),
        ({"sound": b""}, "is no FLAC"),
        ({"rms": 0.0}, "at no level"),
        ({"rms": float("nan")}, "at no level"),
        ({"rms": float("inf")}, "at no level"),
        ({"rms": 1e-300}, "at no level"),
        ({"rms": 1e300}, "at no level"),
        ({"rms": None}, "cannot be read as a shard"),
        ({"recording": None}, "cannot be read as a shard"),
        ({"audio": None}, "cannot be read as a shard"),
        ({"audio": {"bytes": None, "path": None}}, "cannot be read as a shard"),
    ],
)
def test_rows_that_are_wrong(tmp_path, change, message):
    file = ShardFile(write(tmp_path / "a.parquet", row(**change)), 8000, 1)
    with pytest.raises(UserError, match=message):
        file.crop(0, 0.5, 400)


def test_columns_that_are_others_or_compressed(tmp_path):
    bomb = row(sound=bytes(10**7))
    for options in ({"compression": "zstd"}, {"compression": "snappy"}):
        path = write(tmp_path / "bomb.parquet", bomb, **options)
        assert path.stat().st_size < 10**6
        with pytest.raises(UserError, match="compressed"):
            ShardFile(path, 8000, 1)
    others = pyarrow.schema([("code", pyarrow.binary())])
    with pytest.raises(UserError, match="its columns are others"):
        ShardFile(write(tmp_path / "code.parquet", {"code": b"x"}, columns=others), 8000, 1)
    path = tmp_path / "two.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([row(), row()], schema(8000)), path, compression="NONE")
    with pytest.raises(UserError, match="one row per group"):
        ShardFile(path, 8000, 2)
    with pytest.raises(UserError, match="has 1 rows where the catalogue says 2"):
        ShardFile(write(tmp_path / "few.parquet", row()), 8000, 2)
    (tmp_path / "none.parquet").write_bytes(b"PAR1")
    with pytest.raises(UserError, match="cannot be read as a shard"):
        ShardFile(tmp_path / "none.parquet", 8000, 1)


def test_names_are_cut_and_hold_nothing_that_a_terminal_obeys(tmp_path):
    file = ShardFile(write(tmp_path / "a.parquet", row(recording="\x1b[2J\n" + 10**5 * "a")), 8000, 1)
    name, _ = file.crop(0, 0.5, 400)
    assert name.isprintable() and len(name) < 400


def test_a_shard_with_a_byte_changed_is_read_or_refused(packed, tmp_path):
    original = (packed / "train-00000.parquet").read_bytes()
    rows = pyarrow.parquet.read_metadata(packed / "train-00000.parquet").num_row_groups
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(150):
        content = bytearray(original)
        # Half of them in the footer, which says where everything is.
        places = rng.integers(max(0, len(content) - 4000) if rng.random() < 0.5 else 0, len(content), 3)
        for place in places:
            content[place] = rng.integers(256)
        path = tmp_path / "a.parquet"
        path.write_bytes(content)
        try:
            file = ShardFile(path, 8000, rows)
            for number in range(rows):
                _, crop = file.crop(number, 0.5, 4000)
                assert len(crop) == 4000
        except UserError as error:
            assert str(path) in str(error) and "\n" not in str(error)
            refused += 1
    assert refused > 30


@pytest.fixture
def copy(packed, tmp_path):
    return shutil.copytree(packed, tmp_path / "copy")


def change(folder, key, value):
    catalogue = json.loads((folder / "catalogue.json").read_text())
    *groups, name = key
    part = catalogue
    for group in groups:
        part = part[group]
    part[name] = value
    (folder / "catalogue.json").write_text(json.dumps(catalogue))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (("shards", 0, "name"), "../../etc/passwd"),
        (("shards", 0, "name"), "/etc/train-00000.parquet"),
        (("shards", 0, "name"), "train-00000.parquet\n"),
        (("shards", 0, "name"), "train-00001.parquet"),
        (("shards", 0, "bytes"), -1),
        (("shards", 0, "bytes"), "many"),
        (("shards", 0, "sha256"), "../a"),
        (("shards", 0, "recordings"), []),
        (("shards", 0, "recordings"), [-1]),
        (("shards", 0, "recordings"), [0, 2**31]),
        (("shards", 0, "recordings"), [0] * (MOST_ROWS + 1)),
        (("shards", 0, "bytes"), 10**400),
        (("shards", 0, "bytes"), 2**40),
        (("shards", 0, "seconds"), "NaN"),
        (("shards", 0, "seconds"), float("inf")),
        (("hours",), {"train": float("nan")}),
        (("hours",), {"train": -1}),
        (("recordings",), 2**31),
        (("shards", 0, "code"), "x"),
        (("shards",), []),
        (("format",), 2),
        (("sample_rate",), 0),
        (("hours",), {"all": 1}),
    ],
)
def test_a_catalogue_that_is_wrong_is_refused(copy, key, value):
    change(copy, key, value)
    with pytest.raises(UserError, match=r"catalogue\.json: .*it is none of ours, or damaged"):
        read_catalogue(Storage(str(copy), 0), 64)


@pytest.mark.parametrize(
    ("key", "value"), [(("shards", 0, "recordings"), [-1] * 10**5), (("shards",), [{"name": "x"}] * 10**5)]
)
def test_a_catalogue_is_refused_by_its_first_errors(copy, key, value):
    change(copy, key, value)
    with pytest.raises(UserError, match="none of ours") as caught:
        read_catalogue(Storage(str(copy), 0), 64)
    assert caught.value.__cause__.error_count() < 10


@pytest.mark.parametrize("key", [(), ("hours",), ("settings",), ("shards", 0)])
def test_a_catalogue_of_many_entries_is_refused_before_it_is_looked_at(copy, key):
    content = part = json.loads((copy / "catalogue.json").read_text())
    for group in key:
        part = part[group]
    part.update({str(number): [] for number in range(2000)})
    (copy / "catalogue.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"an object has 20\d\d entries, .*it is none of ours") as caught:
        read_catalogue(Storage(str(copy), 0), 64)
    assert not isinstance(caught.value.__cause__, ValidationError)


def test_a_catalogue_that_is_huge_or_no_json_is_refused(copy):
    (copy / "catalogue.json").write_text("[" * 10**5)
    with pytest.raises(UserError, match="none of ours"):
        read_catalogue(Storage(str(copy), 0), 64)
    with pytest.raises(UserError, match=r"has more than 0\.05 MB"):
        read_catalogue(Storage(str(copy), 0), 0.05)
    (copy / "catalogue.json").unlink()
    with pytest.raises(UserError, match=r"catalogue\.json: missing; `mixit shard` writes it"):
        read_catalogue(Storage(str(copy), 0), 64)


def test_the_fingerprint_is_that_of_the_shards(copy):
    before = read_catalogue(Storage(str(copy), 0), 64).fingerprint
    change(copy, ("licence",), "CC0-1.0")
    assert read_catalogue(Storage(str(copy), 0), 64).fingerprint == before
    change(copy, ("shards", 0, "sha256"), hashlib.sha256(b"").hexdigest())
    assert read_catalogue(Storage(str(copy), 0), 64).fingerprint != before
