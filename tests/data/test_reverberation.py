"""On-the-fly reverberation against plain convolution beforehand."""

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import convolve
from torch.utils.data import DataLoader

from mixit_lightning.data.batches import Drawing, TrainingDataset
from mixit_lightning.data.dynamic import DynamicMixtures, FixedMixtures
from mixit_lightning.data.mixture import Margin
from mixit_lightning.data.prepared import PreparedMixtures, Row
from mixit_lightning.data.recordings import Recording, RecordingPool
from mixit_lightning.data.reverberation import ReverberantMixtures, Rooms
from mixit_lightning.errors import UserError
from mixit_lightning.rooms import RoomBank
from mixit_lightning.rooms.acoustics import LEAD

RATE = 1000
FRAMES = 700


def random_bank(seed=0, num_sources=3, rooms=2, rate=RATE, splits=("train", "valid", "test")) -> RoomBank:
    """Decaying noises behind a direct sound, of different lengths."""
    rng = np.random.default_rng(seed)
    rows, responses = [], []
    for split in splits:
        for room in range(rooms):
            for source in range(num_sources):
                direct, tail = int(rng.integers(LEAD, LEAD + 30)), int(rng.integers(20, 150))
                after = 0.3 * rng.standard_normal(tail) * np.exp(-np.arange(tail) / 30)
                before = np.zeros(direct)
                before[-5:] = 0.1 * rng.standard_normal(5)  # the filter that interpolates the direct sound
                response = np.concatenate([before, [1.0], after]).astype(np.float32) / rng.uniform(0.5, 3)
                responses.append(response)
                rows.append(
                    {"split": split, "room": room, "source": source, "direct": direct, "samples": len(response)}
                )
    return RoomBank(rate, pd.DataFrame(rows), responses)


def prepared(folder, count=4, sources=2, **settings):
    """Rows of mixtures on disk, in floating point, and the sources by row."""
    rng = np.random.default_rng(1)
    rows, signals = [], {}
    for number in range(count):
        sounds = rng.standard_normal((sources, FRAMES + 10 * number)).astype(np.float32)
        paths = [folder / f"{number}-{name}.wav" for name in ("mix", *range(sources))]
        for path, sound in zip(paths, [sounds.sum(0), *sounds], strict=True):
            soundfile.write(path, sound, RATE, subtype="FLOAT")
        rows.append(Row(str(number), paths[0], tuple(paths[1:]), sounds.shape[1]))
        signals[str(number)] = sounds
    return PreparedMixtures(rows, **settings), signals


def beforehand(source, response) -> np.ndarray:
    """The image of a whole recording, with the direct sound where the dry one was; `response` from `LEAD` before it."""
    return convolve(source.astype(float), response.astype(float))[LEAD : LEAD + len(source)]


@pytest.mark.parametrize("length", [100, 333, 2000])
def test_crops_are_those_of_recordings_convolved_beforehand(tmp_path, length):
    """Reverberation of what was said before a crop rings on into it."""
    mixtures, signals = prepared(tmp_path, length=length)
    reverberant = ReverberantMixtures(mixtures, Rooms(random_bank(), "train"), 0)
    for number in range(12):
        item = reverberant.draw(number, labelled=True)
        rendered = item.render()
        crop = mixtures.choose(number, True)
        for source, response, reference in zip(
            signals[crop.row.name], item.responses, rendered.references, strict=True
        ):
            ringing_out = np.pad(source, (0, 2000))  # as the shorter recordings do
            image = beforehand(ringing_out, response.numpy())[crop.start : crop.start + length]
            np.testing.assert_allclose(reference.numpy(), image, atol=2e-6)
        torch.testing.assert_close(rendered.references.sum(0), rendered.mixture)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    num_sources=st.integers(1, 3),
    length=st.integers(30, 400),
    loudness=st.floats(-40, 40),
)
def test_images_add_up_to_the_mixture_and_are_what_convolution_gives(seed, num_sources, length, loudness):
    class Noises:
        groups = ("a", "b", "c")

        def draw(self, group, rng, length, margin):
            return group, 10 ** (loudness / 20) * rng.standard_normal(sum(margin) + length)

    shares = np.eye(3)[num_sources - 1]
    rooms = Rooms(random_bank(seed), "train")
    reverberant = ReverberantMixtures(DynamicMixtures(Noises(), Noises(), shares, length, 3.0, seed), rooms, seed)
    item = reverberant.draw(seed, labelled=True)
    rendered = item.render()
    scale = rendered.mixture.abs().max().item()
    for source, response, reference in zip(item.sources, item.responses, rendered.references, strict=True):
        image = beforehand(source.numpy(), response.numpy())[rooms.margin.before :][:length]
        np.testing.assert_allclose(reference.numpy(), image, atol=2e-6 * scale)
    np.testing.assert_allclose(rendered.references.sum(0).numpy(), rendered.mixture.numpy(), atol=1e-6 * scale)
    without = item._replace(labelled=False).render()
    assert without.references.shape == (0, length)
    np.testing.assert_allclose(without.mixture.numpy(), rendered.mixture.numpy(), atol=2e-6 * scale)


def test_direct_sound_stays_at_its_sample():
    """A click comes out as a click at the same place, however far away the source is."""
    bank = random_bank()
    for number, response in enumerate(bank.responses):
        response[:] = 0
        response[bank.table["direct"][number]] = 0.2
    click = torch.zeros(1, 300)
    click[0, 100] = 1
    rooms = Rooms(bank, "test")

    class Clicks:
        max_sources = 1

        def __len__(self):
            return 5

        def sources(self, number, margin):
            from mixit_lightning.data.mixture import Sources

            return Sources("click", torch.nn.functional.pad(click, margin))

    for number in range(5):
        rendered = ReverberantMixtures(Clicks(), rooms, 7)[number]
        # Unit energy: the level is that of the dry source.
        torch.testing.assert_close(rendered.references, click, atol=1e-6, rtol=0)


@pytest.mark.parametrize("early", [0, 50])
def test_targets_may_be_the_early_part_alone(tmp_path, early):
    mixtures, signals = prepared(tmp_path, length=None)
    bank = random_bank()
    whole, part = (ReverberantMixtures(mixtures, Rooms(bank, "train", ms), 0) for ms in (None, early))
    for number in range(6):
        drawn = part.draw(number, labelled=True)
        rendered, everything = drawn.render(), whole.draw(number, labelled=True).render()
        torch.testing.assert_close(rendered.mixture, everything.mixture)
        kept = 2 * LEAD + 1 + early  # samples at 1000 Hz
        for source, response, reference in zip(signals[drawn.name], drawn.responses, rendered.references, strict=True):
            cut = np.where(np.arange(len(response)) < kept, response.numpy(), 0)
            np.testing.assert_allclose(reference.numpy(), beforehand(source, cut), atol=2e-6)
        assert not torch.allclose(rendered.references, everything.references)


def test_recordings_drawn_with_a_margin_hold_the_same_crop(tmp_path):
    soundfile.write(tmp_path / "ramp.wav", np.arange(1, 101, dtype=np.float32) / 200, RATE, subtype="FLOAT")
    pool = RecordingPool([Recording(tmp_path / "ramp.wav", "a")], RATE)
    whole = pool.draw("a", np.random.default_rng(0), None)[1]
    for length in (10, 60, 100, 130, None):
        for seed in range(20):
            inner = pool.draw("a", np.random.default_rng(seed), length)[1]
            outer = pool.draw("a", np.random.default_rng(seed), length, Margin(25, 7))[1]
            assert np.array_equal(outer[25 : len(outer) - 7], inner)
            padded = np.pad(whole, 200)
            places = [n for n in range(len(padded) - len(outer)) if np.array_equal(padded[n:][: len(outer)], outer)]
            assert places  # the margin is what stands beside the crop in the recording, or silence


def test_one_number_is_one_mixture_and_unlabelled_ones_have_other_rooms(tmp_path):
    mixtures, _ = prepared(tmp_path, length=100, labelled_share=0.5)
    reverberant = ReverberantMixtures(mixtures, Rooms(random_bank(rooms=40), "train"), 0)
    again = ReverberantMixtures(mixtures, Rooms(random_bank(rooms=40), "train"), 0)
    other = ReverberantMixtures(mixtures, Rooms(random_bank(rooms=40), "train"), 1)
    for number in range(10):
        one = reverberant.draw(number, labelled=False)
        assert torch.equal(one.render().mixture, again.draw(number, labelled=False).render().mixture)
        assert not torch.equal(one.responses, reverberant.draw(number, labelled=True).responses)
        assert not torch.equal(one.responses, other.draw(number, labelled=False).responses)


def test_sources_of_a_mixture_are_at_different_places_of_one_room():
    bank = random_bank(rooms=3)
    rooms = Rooms(bank, "valid")
    place = {response.numpy().tobytes(): number for number, response in rooms.responses.items()}
    rng = np.random.default_rng(0)
    for _ in range(50):
        responses, _ = rooms.draw(rng, 3)
        numbers = [
            next(place[row[:n].tobytes()] for n in range(len(row), 0, -1) if row[:n].tobytes() in place)
            for row in responses.numpy()
        ]
        chosen = bank.table.loc[numbers]
        assert len(set(chosen["room"])) == 1 and chosen["source"].nunique() == 3
        assert set(chosen["split"]) == {"valid"}


def test_fixed_lists_depend_on_nothing_but_the_number(tmp_path):
    mixtures, _ = prepared(tmp_path, length=None)
    rooms = Rooms(random_bank(), "test")
    one, other = ReverberantMixtures(mixtures, rooms, 3), ReverberantMixtures(mixtures, rooms, 3)
    forwards = [one[number] for number in range(len(one))]
    backwards = [other[number] for number in reversed(range(len(other)))][::-1]
    assert len(one) == 4
    assert all(
        torch.equal(*pair) for a, b in zip(forwards, backwards, strict=True) for pair in zip(a[1:], b[1:], strict=True)
    )
    fixed = FixedMixtures(DynamicMixtures(Tones(), Tones(), (0, 1), 50, 0.0, 0), [0, 3])
    assert ReverberantMixtures(fixed, rooms, 3)[2].references.shape == (2, 50)


class Tones:
    groups = ("a", "b")

    def draw(self, group, rng, length, margin):
        return group, rng.standard_normal(sum(margin) + length)


@pytest.mark.parametrize("workers", [0, 1])
def test_convolving_on_the_device_gives_the_same_batches(tmp_path, workers):
    mixtures, _ = prepared(tmp_path, length=100, labelled_share=0.5)
    reverberant = ReverberantMixtures(mixtures, Rooms(random_bank(), "train"), 0)
    drawings = [Drawing(range(2), range(2)), Drawing(range(0), range(2, 4)), Drawing(range(2, 4), range(0))]
    batches = {}
    for lazy in (False, True):
        dataset = TrainingDataset(reverberant, silent_share=0.5, seed=3, lazy=lazy)
        batches[lazy] = list(DataLoader(dataset, sampler=drawings, batch_size=None, num_workers=workers))
    for here, there in zip(batches[False], batches[True], strict=True):
        there = there.render()
        torch.testing.assert_close(here.mixtures, there.mixtures)
        torch.testing.assert_close(here.references, there.references)
        assert here.names == there.names
    assert any((batch.mixtures == 0).all(1).any() for batch in batches[False])


def test_bad_banks(tmp_path):
    random_bank(splits=("train", "test")).save(tmp_path / "rooms.npz")
    every = ("train", "valid", "test")
    with pytest.raises(UserError, match=r"rooms\.npz: .*counts\.valid"):
        Rooms.load(str(tmp_path / "rooms.npz"), every, RATE, None)
    with pytest.raises(UserError, match=r"1000 Hz .*sample_rate=8000"):
        Rooms.load(str(tmp_path / "rooms.npz"), every, 8000, None)
    with pytest.raises(UserError, match=r"none\.npz"):
        Rooms.load(str(tmp_path / "none.npz"), every, RATE, None)
    with pytest.raises(UserError, match="early=-1"):
        Rooms.load(str(tmp_path / "rooms.npz"), ("train",), RATE, -1)
    few = Rooms(random_bank(num_sources=2), "train")
    mixtures = DynamicMixtures(Tones(), Tones(), (0, 1), 50, 0.0, 0)
    assert ReverberantMixtures(mixtures, few, 0).draw(0, labelled=True).sources.shape[0] == 2
    three, _ = prepared(tmp_path, sources=3, length=50)
    message = r"num_sources=3"
    with pytest.raises(UserError, match=message):
        ReverberantMixtures(three, few, 0)
