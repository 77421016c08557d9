from pathlib import Path

import numpy as np
import pytest

from mixit_lightning.data.index import Heard, Index
from mixit_lightning.data.proposals import propose
from mixit_lightning.data.survey import EDGES, Survey
from mixit_lightning.data.usable import usable
from mixit_lightning.errors import UserError


def heard(name, seconds=10.0, rate=16000, levels=-20, highest=0, **more):
    """A recording with energy in the lowest bands up to number `highest`."""
    blocks = np.full((1, round(10 * seconds)), levels, np.int8) if np.ndim(levels) == 0 else np.array(levels, np.int8)
    bands = [1.0 if number <= highest else 0.0 for number in range(len(EDGES))]
    facts = {"clipped": 0.0, "cut_off": False, "digest": name} | more
    return Heard(name, Path(name), Survey(round(seconds * rate), rate, blocks, bands, **facts))


def folder(*recordings, problems=()):
    return Index(Path("folder"), list(recordings), dict(problems))


def test_what_is_of_no_use_and_why():
    index = folder(
        heard("a"),
        heard("b", digest="a"),
        heard("c", seconds=0.5),
        heard("d", rate=8000),
        heard("e", levels=-90),
        problems={"f": "cannot be read"},
    )
    found = usable(index, 16000, 1.0)
    assert [one.name for one in found.heard] == [one.name for one in found.recordings] == ["a"]
    assert found.skipped == {
        "b": "holds the same samples as a",
        "c": "is 0.5 s long, below datamodule.shortest=1",
        "d": "has 8000 Hz, below sample_rate=16000",
        "e": "is silent: nothing above -70 dB",
        "f": "cannot be read",
    }
    assert len(usable(index, 8000, 0.1).heard) == 3


@pytest.mark.parametrize(
    ("recordings", "rate"),
    [
        ([heard("a", rate=48000, highest=0)], 8000),
        ([heard("a", rate=48000, highest=1)], 16000),
        ([heard("a", rate=44100, highest=3)], 32000),
        ([heard("a", rate=44100, highest=4)], 32000),
        ([heard("a", rate=48000, highest=4)], 48000),
        ([heard("a", rate=48000, highest=4), heard("b", rate=16000, seconds=2)], 16000),
        ([heard("a", rate=48000, highest=4, seconds=100), heard("b", rate=16000, seconds=2)], 48000),
        ([heard("a", rate=6000, highest=0)], 8000),
    ],
)
def test_the_lowest_rate_that_loses_little_and_most_of_the_time_has(recordings, rate):
    assert propose(folder(*recordings), 1.0).sample_rate == rate


@pytest.mark.parametrize(
    ("lengths", "duration"),
    [((1, 1, 1), 2.0), ((3.3, 9, 9), 5.0), ((3.3, 3.3, 9), 3.5), ((60, 60), 5.0), ((9, 4), 5.0)],
)
def test_crops_are_as_long_as_the_shorter_recordings_within_bounds(lengths, duration):
    found = propose(folder(*(heard(str(number), seconds=s) for number, s in enumerate(lengths))), 1.0)
    assert found.duration == duration


def pauses(share, quiet, blocks=1000):
    """Levels of a recording whose sources pause together for a share of the time."""
    return [[-20] * round((1 - share) * blocks) + [quiet] * round(share * blocks)]


@pytest.mark.parametrize(
    ("levels", "outputs"),
    [
        (pauses(0.7, -100), 4),  # a call now and then: 0.4 sources at a time
        (pauses(0.3, -80), 4),  # 1.2
        (pauses(0.12, -80), 4),  # 2.1
        (pauses(0.11, -40), 6),  # 2.2 and a background
        (pauses(0.3, -40), 4),  # 1.2 and a background
        (pauses(0.0, -40), 4),  # steady: a background
    ],
)
def test_outputs_follow_pauses_and_background(levels, outputs):
    assert propose(folder(heard("a", seconds=100, levels=levels)), 1.0).num_outputs == outputs


def test_reasons_go_with_every_proposal():
    found = propose(folder(heard("a")), 1.0)
    assert set(found.reasons) == {"sample_rate", "duration", "num_outputs"} and all(found.reasons.values())


def test_a_folder_without_anything_of_use_says_why():
    with pytest.raises(UserError, match="none of 2 recordings can be used; a is silent"):
        propose(folder(heard("a", levels=-90), heard("b", levels=-90)), 1.0)
