import numpy as np
import pytest
import soundfile

from mixit_lightning.collection import survey as module
from mixit_lightning.collection.survey import EDGES
from mixit_lightning.errors import UserError

from ..helpers.recordings import surveyed as survey

RATE = 8000


def tone(seconds, frequency=440.0, rate=RATE, scale=0.1):
    return scale * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)


def write(path, samples, rate=RATE, subtype="FLOAT"):
    soundfile.write(path, samples, rate, subtype=subtype)
    return path


def test_levels_are_those_of_every_block_of_every_channel(tmp_path):
    one, other = tone(1.05), 0.1 * tone(1.05)
    one[:4000] = 0
    found = survey(write(tmp_path / "a.wav", np.stack([one, other], axis=1)))
    assert found.frames == 8400 and found.sample_rate == RATE and found.seconds == 1.05
    quiet, loud = round(20 * np.log10(0.01 / 2**0.5)), round(20 * np.log10(0.1 / 2**0.5))
    assert found.levels.tolist() == [[-120] * 5 + [loud] * 6, [quiet] * 11]
    assert not found.remarks and found.clipped == 0


def test_blocks_leave_no_trace(tmp_path, monkeypatch):
    samples = np.random.default_rng(0).uniform(-1.2, 1.2, (round(2.55 * RATE), 2))
    samples[3990:4020] = 1.0  # a run at full scale across a border of pieces would be counted in both
    path = write(tmp_path / "a.flac", samples.clip(-1, 1), subtype="PCM_16")
    whole = survey(path)
    monkeypatch.setattr(module, "READ_SECONDS", 0.7)
    pieces = survey(path)
    assert (pieces.levels == whole.levels).all() and pieces.digest == whole.digest
    assert pieces.clipped == pytest.approx(whole.clipped, rel=0.02)


def test_clipping_counts_runs_of_three(tmp_path):
    samples = tone(1)
    samples[[10, 20, 21]] = 1.0
    assert survey(write(tmp_path / "a.wav", samples, subtype="PCM_16")).clipped == 0
    samples[[30, 31, 32, 33]] = -1.0
    assert survey(write(tmp_path / "b.wav", samples, subtype="PCM_16")).clipped == 4 / RATE


@pytest.mark.parametrize(("frequency", "band"), [(1000, 0), (5000, 1), (9000, 2), (15000, 3), (20000, 4)])
def test_energy_lies_where_the_sound_is(tmp_path, frequency, band):
    found = survey(write(tmp_path / "a.wav", tone(2, frequency, 48000), 48000))
    assert found.bands[band] > 0.999 * sum(found.bands) > 0 and len(found.bands) == len(EDGES)


def test_highs_count_by_their_frequency_whatever_the_rate(tmp_path):
    one, other = (
        np.sum(survey(write(tmp_path / f"{rate}.wav", tone(2, 2000, rate), rate)).bands) / rate
        for rate in (16000, 48000)
    )
    octave = np.sum(survey(write(tmp_path / "high.wav", tone(2, 4000, 48000), 48000)).bands) / 48000
    # Windows of a tenth of a second have energies in proportion to the rate.
    assert other == pytest.approx(3 * one, rel=0.2) and octave == pytest.approx(4 * other, rel=0.05)


def test_all_channels_say_where_the_energy_lies(tmp_path):
    stereo = np.stack([np.zeros(48000), tone(1, 15000, 48000)], axis=1)
    found = survey(write(tmp_path / "a.wav", stereo, 48000))
    assert found.bands[3] > 0.999 * sum(found.bands) > 0


def test_energy_is_taken_from_all_of_a_piece(tmp_path):
    late = np.concatenate([np.zeros(8000), tone(19, 3000)])
    assert sum(survey(write(tmp_path / "a.wav", late)).bands) > 0


def test_an_offset_is_no_sound_and_nothing_is_too_loud(tmp_path):
    assert (survey(write(tmp_path / "a.wav", np.full(RATE, 0.3))).levels <= -100).all()
    loud = survey(write(tmp_path / "b.wav", tone(1, scale=3000 * 2**0.5)))
    assert (loud.levels == round(20 * np.log10(3000))).all()


def test_channels_share_what_is_clipped(tmp_path):
    samples = np.stack([np.ones(RATE), tone(1)], axis=1)
    assert survey(write(tmp_path / "a.wav", samples, subtype="PCM_16")).clipped == pytest.approx(0.5)


def test_much_is_read_in_small_pieces(tmp_path, monkeypatch):
    path = write(tmp_path / "a.wav", np.random.default_rng(0).uniform(-1, 1, (2 * RATE, 8)))
    whole, sizes = survey(path), []
    monkeypatch.setattr(module, "MOST_SAMPLES", 8 * 800 * 3)
    levels_of = module.levels_of
    monkeypatch.setattr(
        module, "levels_of", lambda samples, block: sizes.append(samples.size) or levels_of(samples, block)
    )
    assert (survey(path).levels == whole.levels).all() and max(sizes) == 8 * 800 * 3


def test_the_same_samples_have_the_same_digest_in_another_format(tmp_path):
    samples = np.round(tone(1) * 2**15) / 2**15
    wav, flac = (survey(write(tmp_path / f"a.{kind}", samples, subtype="PCM_16")) for kind in ("wav", "flac"))
    assert survey(write(tmp_path / "c.wav", samples, 2 * RATE, "PCM_16")).digest != wav.digest
    assert wav.digest == flac.digest != survey(write(tmp_path / "b.wav", -samples, subtype="PCM_16")).digest


def test_what_cannot_be_used_is_refused(tmp_path):
    (tmp_path / "letter.wav").write_text("Dear all,")
    with pytest.raises(UserError, match=r"letter\.wav: cannot be read as audio"):
        survey(tmp_path / "letter.wav")
    spoilt = tone(1)
    spoilt[77] = np.nan
    with pytest.raises(UserError, match="not finite"):
        survey(write(tmp_path / "nan.wav", spoilt))
    with pytest.raises(UserError, match="no samples"):
        survey(write(tmp_path / "empty.wav", np.zeros(0)))
    whole = write(tmp_path / "cut.flac", np.random.default_rng(0).uniform(-1, 1, RATE), subtype="PCM_16")
    whole.write_bytes(whole.read_bytes()[:6000])
    with pytest.raises(UserError, match=r"cut\.flac: "):
        survey(whole)
    write(tmp_path / "rate.wav", tone(0.1), 3_000_000)
    with pytest.raises(UserError, match="3000000 Hz"):
        survey(tmp_path / "rate.wav")
    write(tmp_path / "slow.wav", tone(0.1), 5)
    with pytest.raises(UserError, match="claims 5 Hz"):
        survey(tmp_path / "slow.wav")


def test_a_wav_whose_end_is_missing_can_be_heard_as_far_as_it_goes(tmp_path):
    path = write(tmp_path / "a.wav", tone(2), subtype="PCM_16")
    path.write_bytes(path.read_bytes()[:20044])
    found = survey(path)
    assert found.remarks and found.frames == 10000
