import numpy as np
import pytest
import soundfile

from mixit_lightning.audio.levels import clipped_samples, full_scale


@pytest.mark.parametrize(
    "subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "ULAW", "ALAW", "IMA_ADPCM", "MS_ADPCM", "GSM610"]
)
def test_full_scale_is_the_highest_value_that_a_format_gives(tmp_path, subtype):
    soundfile.write(tmp_path / "a.wav", np.full(8000, 1 - 2.0**-15), 8000, subtype=subtype)
    highest = soundfile.read(tmp_path / "a.wav")[0].max()
    if subtype in ("IMA_ADPCM", "MS_ADPCM", "GSM610"):  # which come near it
        assert 0.98 < highest <= full_scale(subtype) < 1
    else:
        assert highest == pytest.approx(full_scale(subtype), abs=2.0**-15) and highest <= full_scale(subtype) < 1


@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE", "VORBIS", "OPUS", "MPEG_LAYER_III"])
def test_floats_and_what_is_decoded_to_them_have_none(subtype):
    assert full_scale(subtype) == np.inf
    assert clipped_samples(np.full((10, 1), 5.0), full_scale(subtype)) == 0


@pytest.mark.parametrize(("runs", "count"), [([1], 0), ([2, 2, 2], 0), ([3], 3), ([3, 2, 4], 7), ([10], 10)])
def test_runs_of_three_count(runs, count):
    samples = np.concatenate([np.concatenate([np.zeros(3), np.ones(run)]) for run in runs] + [np.zeros(1)])
    assert clipped_samples(samples, 1.0) == count
    assert clipped_samples(np.stack([samples, -samples], 1), 1.0) == 2 * count
