import numpy as np
import pytest

from mixit_lightning.rooms import direct_sample, reverberation_time
from mixit_lightning.rooms.acoustics import LEAD


@pytest.mark.parametrize("sample_rate", [8000, 16000])
@pytest.mark.parametrize("rt60", [0.1, 0.4, 1.0])
def test_noise_that_decays_by_60_db_in_a_given_time(rt60, sample_rate):
    time = np.arange(round(1.5 * rt60 * sample_rate)) / sample_rate
    noise = np.random.default_rng(0).standard_normal(len(time)) * 10 ** (-3 * time / rt60)
    assert reverberation_time(noise, sample_rate) == pytest.approx(rt60, rel=0.05)


def test_two_slopes_are_measured_between_5_and_35_db():
    """A strong direct sound ahead of the decay does not count, nor what follows below -35 dB."""
    time = np.arange(8000) / 8000
    decay = np.random.default_rng(0).standard_normal(8000) * 10 ** (-3 * time / 0.3)
    with_direct = np.concatenate([[np.sqrt(0.5 * np.sum(decay**2))], decay])  # 1.8 dB above what follows
    with_floor = decay + 1e-4 * np.random.default_rng(1).standard_normal(8000)
    assert reverberation_time(with_direct, 8000) == pytest.approx(0.3, rel=0.05)
    assert reverberation_time(with_floor, 8000) == pytest.approx(0.3, rel=0.05)


@pytest.mark.parametrize("response", [np.ones(1), np.eye(1, 100)[0], np.zeros(5)])
def test_no_decay_is_refused(response):
    with pytest.raises(ValueError, match="decay"):
        reverberation_time(response, 8000)


def test_sound_takes_its_time():
    assert direct_sample(3.43, 8000) == LEAD + 80
    assert direct_sample(3.43, 16000) == LEAD + 160
