import pickle
import shutil
from collections import Counter

import numpy as np
import pytest
import soundfile
import torch

from mixit_lightning.data import prepared
from mixit_lightning.data.prepared import PreparedMixtures, find_rows
from mixit_lightning.errors import UserError

ROWS = 20
FRAMES = 12


def write(path, samples, sample_rate=8000):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(str(path), np.asarray(samples, dtype=np.float32), sample_rate, subtype="FLOAT")


@pytest.fixture
def folder(tmp_path):
    """Row n: s1 rises from n by 1/64 a sample and so tells row and place, s2 is another ramp."""
    for row in range(ROWS):
        first = row + np.arange(FRAMES) / 64
        second = -(np.arange(FRAMES) ** 2) / 256
        name = f"{row:02}.wav"
        write(tmp_path / "s1" / name, first)
        write(tmp_path / "s2" / name, second)
        write(tmp_path / "mix" / name, first + second)
    return tmp_path


def rows_of(folder, sample_rate=8000):
    return find_rows(folder, "mix", ("s1", "s2"), sample_rate)


def start_of(item):
    """Place of the crop, read off the first reference."""
    row, place = divmod(float(item.references[0, 0]) * 64, 64)
    assert f"{int(row):02}" == item.name
    return int(place)


def test_rows_are_sorted_and_hold_their_files(folder):
    rows = rows_of(folder)
    assert [row.name for row in rows] == [f"{row:02}" for row in range(ROWS)]
    for row in rows:
        assert row.mixture == folder / "mix" / f"{row.name}.wav"
        assert row.references == (folder / "s1" / f"{row.name}.wav", folder / "s2" / f"{row.name}.wav")
        assert row.frames == FRAMES


@pytest.mark.parametrize("part", ["mix", "s1", "s2"])
def test_a_missing_file_is_named(folder, part):
    path = folder / part / "07.wav"
    path.unlink()
    with pytest.raises(UserError, match=f"^{path}: "):
        rows_of(folder)


@pytest.mark.parametrize("part", ["mix", "s1", "s2"])
def test_another_length_or_sample_rate_is_named(folder, part):
    path = folder / part / "07.wav"
    write(path, np.ones(FRAMES), 16000)
    with pytest.raises(UserError, match=f"^{path}: 16000 Hz .*sample_rate=8000"):
        rows_of(folder)
    write(path, np.ones(FRAMES + 1))
    with pytest.raises(UserError, match=r"07\.wav: 1[23] samples where its mixture has 1[23]"):
        rows_of(folder)


@pytest.mark.parametrize("part", ["mix", "s1", "s2"])
def test_a_missing_or_empty_folder_is_named(folder, part):
    shutil.rmtree(folder / part)
    with pytest.raises(UserError, match=f"^{folder / part}: "):
        rows_of(folder)
    (folder / part).mkdir()
    (folder / part / "notes.txt").touch()
    with pytest.raises(UserError, match=f"^{folder / part}: "):
        rows_of(folder)


@pytest.mark.parametrize(("share", "labelled"), [(1.0, True), (0.0, False), (0.25, True), (0.25, False)])
def test_one_pass_sees_every_row_once_in_an_order_of_its_own(folder, share, labelled):
    mixtures = PreparedMixtures(rows_of(folder), 4, share, seed=1)
    count = round((share if labelled else 1 - share) * ROWS)
    passes = [
        [mixtures.draw(start + number, labelled=labelled).name for number in range(count)]
        for start in (0, count, 2 * count)
    ]
    assert len(set(passes[0])) == count
    assert sorted(passes[0]) == sorted(passes[1]) == sorted(passes[2])
    assert passes[0] != passes[1] != passes[2] != passes[0]


@pytest.mark.parametrize("share", [0.05, 0.25, 0.5, 0.9])
def test_labelled_and_unlabelled_rows_are_never_the_same(folder, share):
    mixtures = PreparedMixtures(rows_of(folder), 4, share, seed=1)
    labelled = {mixtures.draw(number, labelled=True).name for number in range(2 * ROWS)}
    unlabelled = {mixtures.draw(number, labelled=False).name for number in range(2 * ROWS)}
    assert len(labelled) == round(share * ROWS)
    assert not labelled & unlabelled and len(labelled | unlabelled) == ROWS


def test_which_rows_are_labelled_depends_on_the_seed_alone(folder):
    rows = rows_of(folder)

    def labelled(seed, length=4):
        return {row.name for row in PreparedMixtures(rows, length, 0.5, seed).rows_of[True]}

    assert labelled(0) == labelled(0, length=6) != labelled(1)


@pytest.mark.parametrize(("share", "kind"), [(0.01, "labelled"), (0.99, "unlabelled")])
def test_a_share_that_leaves_none_is_refused_at_once(folder, share, kind):
    with pytest.raises(UserError, match=f"labelled_share={share} .*{kind}"):
        PreparedMixtures(rows_of(folder), 4, share)


def test_unlabelled_mixtures_open_no_source_file(folder):
    mixtures = PreparedMixtures(rows_of(folder), 4, 0.0)
    shutil.rmtree(folder / "s1")
    shutil.rmtree(folder / "s2")
    for number in range(ROWS):
        item = mixtures.draw(number, labelled=False)
        assert item.references.shape == (0, 4) and item.mixture.shape == (4,)
    with pytest.raises(UserError, match="s1"):
        PreparedMixtures(mixtures.rows, 4, 1.0).draw(0, labelled=True)


@pytest.mark.parametrize("labelled", [True, False])
def test_only_the_crop_is_read(folder, labelled, monkeypatch):
    asked = []
    read = prepared.read
    monkeypatch.setattr(prepared, "read", lambda *call: (asked.append(call), read(*call))[1])
    PreparedMixtures(rows_of(folder), 4, float(labelled)).draw(0, labelled=labelled)
    assert [frames for _, _, frames in asked] == [4] * (3 if labelled else 1)


def test_crops_are_of_the_same_place_in_mixture_and_references_and_anywhere(folder):
    mixtures = PreparedMixtures(rows_of(folder), FRAMES - 2, 1.0)
    starts = Counter()
    for number in range(150):
        item = mixtures.draw(number, labelled=True)
        start = start_of(item)
        starts[start] += 1
        place = np.arange(start, start + FRAMES - 2)
        np.testing.assert_allclose(item.references[0], int(item.name) + place / 64)
        np.testing.assert_allclose(item.references[1], -(place**2) / 256)
        np.testing.assert_allclose(item.mixture, item.references.sum(0))
    assert sorted(starts) == [0, 1, 2] and min(starts.values()) > 25


def test_a_number_is_a_crop_whatever_was_drawn_before(folder):
    one, other = (PreparedMixtures(rows_of(folder), 4, 0.5, seed=2) for _ in range(2))
    for labelled in (True, False):
        forwards = [one.draw(number, labelled=labelled) for number in range(30)]
        backwards = [other.draw(number, labelled=labelled) for number in reversed(range(30))][::-1]
        for a, b in zip(forwards, backwards, strict=True):
            assert a.name == b.name
            torch.testing.assert_close(a.mixture, b.mixture, rtol=0, atol=0)


@pytest.mark.parametrize("labelled", [True, False])
def test_short_files_end_in_silence(folder, labelled):
    mixtures = PreparedMixtures(rows_of(folder), FRAMES + 3, float(labelled))
    item = mixtures.draw(0, labelled=labelled)
    assert item.mixture.shape == (FRAMES + 3,)
    assert item.mixture[FRAMES:].abs().max() == 0
    place = np.arange(FRAMES)
    np.testing.assert_allclose(item.mixture[:FRAMES], int(item.name) + place / 64 - place**2 / 256)
    if labelled:
        assert item.references.shape == (2, FRAMES + 3) and item.references[:, FRAMES:].abs().max() == 0


@pytest.mark.parametrize(("length", "start"), [(4, 4), (5, 3), (11, 0), (12, 0), (None, 0)])
def test_evaluation_takes_the_middle_of_every_row_in_order(folder, length, start):
    mixtures = PreparedMixtures(rows_of(folder), length, seed=5)
    assert len(mixtures) == ROWS
    for row in range(ROWS):
        item = mixtures[row]
        assert item.name == f"{row:02}" and item.mixture.shape == (length or FRAMES,)
        assert start_of(item) == start
        np.testing.assert_allclose(item.mixture, item.references.sum(0))


@pytest.mark.parametrize("used", [False, True])
def test_it_can_be_sent_to_a_loading_process(folder, used):
    mixtures = PreparedMixtures(rows_of(folder), 4, 0.5, seed=2)
    if used:
        mixtures.draw(0, labelled=True)
    copy = pickle.loads(pickle.dumps(mixtures))
    for number in range(25):
        one, other = mixtures.draw(number, labelled=True), copy.draw(number, labelled=True)
        assert one.name == other.name and torch.equal(one.mixture, other.mixture)


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_the_asked_share_of_items_is_one_source_alone(folder, share):
    mixtures = PreparedMixtures(rows_of(folder), FRAMES, one_source_share=share)
    count = 400
    items = [mixtures.draw(number, labelled=True) for number in range(count)]
    alone = [item for item in items if len(item.references) == 1]
    assert abs(len(alone) - share * count) <= 4 * np.sqrt(count * share * (1 - share))
    for item in alone:
        assert torch.equal(item.mixture, item.references[0])
    if share:  # one source is drawn as often as the other
        firsts = sum(item.name.endswith(" s1") for item in alone)
        assert abs(firsts - len(alone) / 2) <= 2 * np.sqrt(len(alone))


def test_an_unlabelled_item_of_one_source_opens_that_file_alone(folder, monkeypatch):
    opened = []
    read = prepared.read
    monkeypatch.setattr(prepared, "read", lambda *call: (opened.append(call[0]), read(*call))[1])
    mixtures = PreparedMixtures(rows_of(folder), FRAMES, 0.0, one_source_share=1.0)
    items = [mixtures.draw(number, labelled=False) for number in range(ROWS)]
    assert len(opened) == ROWS and {path.parent.name for path in opened} == {"s1", "s2"}
    assert all(item.references.shape == (0, FRAMES) for item in items)


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_of_one_source_items_that_is_none_is_refused(folder, share):
    with pytest.raises(UserError, match="one_source_share"):
        PreparedMixtures(rows_of(folder), 4, one_source_share=share)
