from pathlib import Path

import numpy as np
import pytest

from mixit_lightning.collection.index import AnalysedRecording, Index
from mixit_lightning.collection.proposals import propose
from mixit_lightning.collection.survey import EDGES, Survey
from mixit_lightning.collection.usable import usable
from mixit_lightning.errors import UserError


def analysed(name, seconds=10.0, rate=16000, levels=-20, highest=0, **more):
    """A recording with energy in the lowest bands up to number `highest`."""
    blocks = np.full((1, round(10 * seconds)), levels, np.int8) if np.ndim(levels) == 0 else np.array(levels, np.int8)
    bands = [1.0 if number <= highest else 0.0 for number in range(len(EDGES))]
    facts = {"clipped": 0.0, "remarks": (), "digest": name} | more
    return AnalysedRecording(name, Path(name), Survey(round(seconds * rate), rate, blocks, bands, **facts))


def folder(*recordings, problems=()):
    return Index(Path("folder"), list(recordings), dict(problems))


def test_what_is_of_no_use_and_why():
    index = folder(
        analysed("a"),
        analysed("b", digest="a"),
        analysed("c", seconds=0.5),
        analysed("d", rate=8000),
        analysed("e", levels=-90),
        problems={"f": "cannot be read"},
    )
    found = usable(index, 16000, 1.0)
    assert [one.name for one in found.analysed] == [one.name for one in found.recordings] == ["a"]
    assert found.skipped == {
        "b": "holds the same samples as a",
        "c": "is 0.5 s long, below datamodule.shortest=1",
        "d": "has 8000 Hz, below sample_rate=16000",
        "e": "is silent: nothing above -70 dB",
        "f": "cannot be read",
    }
    assert len(usable(index, 8000, 0.1).analysed) == 3


@pytest.mark.parametrize(
    ("recordings", "rate"),
    [
        ([analysed("a", rate=48000, highest=0)], 8000),
        ([analysed("a", rate=48000, highest=1)], 16000),
        ([analysed("a", rate=44100, highest=3)], 32000),
        ([analysed("a", rate=44100, highest=4)], 32000),
        ([analysed("a", rate=48000, highest=4)], 48000),
        ([analysed("a", rate=48000, highest=4), analysed("b", rate=16000, seconds=2)], 16000),
        ([analysed("a", rate=48000, highest=4, seconds=100), analysed("b", rate=16000, seconds=2)], 48000),
        ([analysed("a", rate=6000, highest=0)], 8000),
    ],
)
def test_the_lowest_rate_that_loses_little_and_most_of_the_time_has(recordings, rate):
    assert propose(folder(*recordings), 1.0)["sample_rate"].value == rate


@pytest.mark.parametrize(
    ("lengths", "duration"),
    [
        ((1,) * 90, 2.0),
        ((3.3,) * 60, 3.3),
        ((600, 600), 5.0),
        ((3, 3, 3, 400), 3.0),
        ((20,), 0.5),
        ((80, 40), 3.0),
    ],
)
def test_crops_are_as_long_as_the_shorter_recordings_within_bounds(lengths, duration):
    found = propose(folder(*(analysed(str(number), seconds=s) for number, s in enumerate(lengths))), 1.0)
    assert found["datamodule.duration"].value == pytest.approx(duration)


def pauses(share, quiet, blocks=1000):
    """Levels of a recording whose sources pause together for a share of the time."""
    return [-20] * round((1 - share) * blocks) + [quiet] * round(share * blocks)


@pytest.mark.parametrize(
    ("levels", "outputs"),
    [
        ([pauses(0.7, -60)], 4),
        ([pauses(0.3, -35)], 6),  # somebody talks in noise
        ([pauses(0.3, -45)], 4),
        ([pauses(0.05, -60)], 6),  # never quiet
        ([pauses(0.5, -120)], 6),  # but for silence put in by a machine
        ([pauses(0.0, 0)], 6),  # steady
        ([[-120] * 1000, pauses(0.3, -35)], 6),
        ([[-60] * 1000, pauses(0.3, -55)], 4),  # the loudest channel counts
    ],
)
def test_a_background_takes_two_outputs_more(levels, outputs):
    assert propose(folder(analysed("a", seconds=100, levels=levels)), 1.0)["num_outputs"].value == outputs


def test_most_of_the_time_decides_about_the_background():
    noisy, clean = (
        analysed(name, seconds=100, levels=[pauses(0.3, quiet)]) for name, quiet in (("n", -30), ("c", -70))
    )
    longer = analysed("l", seconds=300, levels=[pauses(0.3, -70, 3000)])
    assert propose(folder(noisy, clean), 1.0)["num_outputs"].value == 6
    assert propose(folder(noisy, longer), 1.0)["num_outputs"].value == 4


def test_reasons_go_with_every_proposal():
    found = propose(folder(analysed("a")), 1.0)
    assert set(found) == {"sample_rate", "datamodule.duration", "num_outputs"}
    assert all(proposal.why for proposal in found.values())


def test_a_folder_without_anything_of_use_says_why():
    with pytest.raises(UserError, match=r"none of 2 recordings can be used: a is silent: .*; b is silent"):
        propose(folder(analysed("a", levels=-90), analysed("b", levels=-90)), 1.0)
