import numpy as np
import pandas as pd
import pytest

from mixit_lightning.errors import UserError
from mixit_lightning.rooms import RoomBank, direct_sample, reverberation_time
from mixit_lightning.rooms.bank import make_bank

SMALL = {
    "sample_rate": 8000,
    "counts": {"train": 6, "valid": 2, "test": 3},
    "size": [(3, 6), (3, 5), (2.5, 3.5)],
    "rt60": (0.15, 0.35),
    "distance": (0.5, 2.0),
    "height": (1.0, 2.0),
    "clearance": 0.5,
    "num_sources": 3,
    "seed": 0,
}


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    path = tmp_path_factory.mktemp("bank") / "rooms.npz"
    make_bank(str(path), **SMALL)
    return path


def test_one_file_with_a_row_for_every_place(bank):
    loaded = RoomBank.load(bank)
    assert [path.name for path in bank.parent.iterdir()] == ["rooms.npz"]
    assert loaded.sample_rate == 8000
    assert loaded.table["split"].value_counts().to_dict() == {"train": 18, "valid": 6, "test": 9}
    for row, response in zip(loaded.table.itertuples(), loaded.responses, strict=True):
        size = np.array([row.length, row.width, row.height])
        source = np.array([row.source_x, row.source_y, row.source_z])
        microphone = np.array([row.microphone_x, row.microphone_y, row.microphone_z])
        for place in (source, microphone):
            assert (place[:2] >= 0.5).all() and (place[:2] <= size[:2] - 0.5).all() and 1 <= place[2] <= 2
        assert 0.5 <= row.distance <= 2 and row.distance == pytest.approx(np.linalg.norm(source - microphone))
        assert row.direct == direct_sample(row.distance, 8000)
        assert abs(int(np.abs(response[: row.direct + 4]).argmax()) - row.direct) <= 1
        assert len(response) == row.samples == row.direct + round(row.rt60 * 8000)
        assert row.rt60_measured == reverberation_time(response, 8000)


def test_no_two_rooms_are_alike(bank):
    table = RoomBank.load(bank).table
    rooms = table.groupby(["split", "room"]).first()
    assert len(rooms) == 11 == rooms["length"].nunique() == rooms["microphone_x"].nunique()
    assert table["source_x"].nunique() == len(table)


def test_rooms_of_a_split(bank):
    loaded = RoomBank.load(bank)
    groups = loaded.rooms("valid")
    assert [len(group) for group in groups] == [3, 3]
    assert (loaded.table.loc[np.concatenate(groups), "split"] == "valid").all()


def test_one_seed_gives_one_file_and_another_another(bank, tmp_path):
    make_bank(str(tmp_path / "again.npz"), **SMALL)
    make_bank(str(tmp_path / "other.npz"), **SMALL | {"seed": 1})
    assert (tmp_path / "again.npz").read_bytes() == bank.read_bytes()
    assert (tmp_path / "other.npz").read_bytes() != bank.read_bytes()


def test_more_rooms_leave_the_first_ones_as_they_were(bank, tmp_path):
    more = make_bank(str(tmp_path / "more.npz"), **SMALL | {"counts": {"train": 7}})
    first = RoomBank.load(bank)
    pd.testing.assert_frame_equal(more.table[:18], first.table[:18])
    assert all(np.array_equal(*pair) for pair in zip(more.responses[:18], first.responses[:18], strict=True))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rt60": (0.01, 0.02)}, "room 0 of train: rt60=0.01 s"),
        ({"rt60": (0.3, 0.2)}, "rt60=[0.3, 0.2]"),
        ({"rt60": (0.3,)}, "rt60=[0.3]"),
        ({"height": (4.0, 5.0)}, "room 0 of train: "),
        ({"distance": (20.0, 30.0)}, "20.0 to 30.0 m"),
        ({"clearance": 9.0}, "room 0 of train: "),
        ({"counts": {}}, "counts"),
        ({"counts": {"train": 0, "test": 0}}, "counts"),
        ({"counts": {"tr": 5}}, "counts.tr"),
        ({"size": [(3, 6), (3, 5)]}, "size="),
        ({"size": [(3, 6), (3, 5), (0, 2)]}, "size[2]=[0, 2]"),
        ({"num_sources": 0}, "num_sources=0"),
    ],
)
def test_settings_that_cannot_be(change, words, tmp_path):
    with pytest.raises(UserError) as error:
        make_bank(str(tmp_path / "rooms.npz"), **SMALL | change)
    assert words in str(error.value)
    assert not list(tmp_path.iterdir())


def test_a_bank_that_is_there_is_left_as_it_is(bank, capsys):
    before = bank.stat().st_mtime_ns
    make_bank(str(bank), **SMALL)
    with pytest.raises(UserError, match=str(bank)):
        make_bank(str(bank), **SMALL | {"seed": 1})
    with pytest.raises(UserError, match=str(bank.parent)):
        make_bank(str(bank.parent), **SMALL)
    assert bank.stat().st_mtime_ns == before
    assert [path.name for path in bank.parent.iterdir()] == ["rooms.npz"]


def test_files_that_are_no_banks(bank, tmp_path):
    text, cut, other, pickled = (tmp_path / f"{name}.npz" for name in ("text", "cut", "other", "pickled"))
    text.write_text("rooms")
    cut.write_bytes(bank.read_bytes()[:-1000])
    columns = {"sample_rate": 8000, "responses": np.zeros(3)}
    np.savez(other, **columns, samples=[4])
    np.savez(pickled, **columns, samples=[3], split=np.array([print], dtype=object))
    for path in (tmp_path / "missing.npz", text, cut, other, pickled):
        with pytest.raises(UserError, match=f"{path.name}: .*mixit rooms path="):
            RoomBank.load(path)
