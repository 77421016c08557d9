import numpy as np
import pytest

from mixit_lightning.errors import UserError
from mixit_lightning.rooms import Room, direct_sample, reverberation_time, simulate

SIZE = (6.0, 5.0, 3.0)
MICROPHONE = (3.0, 2.5, 1.5)


def room(*distances: float, rt60: float = 0.3, size=SIZE) -> Room:
    """Sources in a row to the right of the microphone."""
    return Room(size, rt60, MICROPHONE, tuple((MICROPHONE[0] + distance, 2.5, 1.5) for distance in distances))


@pytest.mark.parametrize("sample_rate", [8000, 16000])
def test_direct_sound_is_at_its_sample_with_the_pressure_of_a_point_source(sample_rate):
    distances = [343 * samples / sample_rate for samples in (32, 50)]  # whole numbers of samples
    for distance, response in zip(distances, simulate(room(*distances), sample_rate, 0).responses, strict=True):
        direct = direct_sample(distance, sample_rate)
        assert np.abs(response[: direct + 5]).argmax() == direct
        # The floor is 1.5 m below: nothing else has arrived yet.
        assert response[direct] == pytest.approx(1 / distance, rel=0.03)


def test_direct_sound_of_any_distance_is_within_half_a_sample():
    rng = np.random.default_rng(0)
    distances = rng.uniform(0.4, 1.5, 6)
    for distance, response in zip(distances, simulate(room(*distances), 16000, 0).responses, strict=True):
        early = response[: direct_sample(distance, 16000) + 4]
        assert abs(int(np.abs(early).argmax()) - (40 + distance / 343 * 16000)) <= 0.5 + 1e-6


def test_energy_falls_with_distance_as_in_the_theory_of_diffuse_fields():
    """1 / r^2 for the direct sound and 16 pi (1 - a) / (S a) for the diffuse field (Kuttruff, "Room Acoustics")."""
    distances = [0.3, 0.6, 1.2, 2.4]
    simulated = simulate(room(*distances), 8000, 0)
    energies = [float(np.square(response, dtype=float).sum()) for response in simulated.responses]
    assert energies == sorted(energies, reverse=True)
    surface = 2 * (6 * 5 + 6 * 3 + 5 * 3)
    diffuse = 16 * np.pi * (1 - simulated.absorption) / (surface * simulated.absorption)
    expected = [1 / distance**2 + diffuse for distance in distances]
    # At 8 kHz a delta's energy depends on where between samples it falls, and a shoebox is not quite diffuse: 1 dB.
    assert np.abs(10 * np.log10(np.array(energies) / expected)).max() < 1


@pytest.mark.parametrize("size", [SIZE, (9.0, 4.0, 2.6), (4.0, 3.8, 3.5)])
@pytest.mark.parametrize("rt60", [0.25, 0.5])
def test_reverberation_time_is_what_was_asked_for(size, rt60):
    asked = Room(size, rt60, (1.0, 1.2, 1.5), ((2.5, 2.9, 1.2), (3.0, 1.5, 1.8)))
    simulated = simulate(asked, 8000, 0)
    measured = [reverberation_time(response, 8000) for response in simulated.responses]
    assert simulated.rt60 == measured
    assert np.mean(measured) == pytest.approx(rt60, rel=0.05)
    assert measured == pytest.approx([rt60, rt60], rel=0.3)


def test_seed_moves_the_images_but_not_the_direct_sound():
    one, same, other = (simulate(room(0.6), 8000, seed).responses[0] for seed in (0, 0, 1))
    assert np.array_equal(one, same)
    direct = direct_sample(0.6, 8000)
    assert one[direct] == pytest.approx(other[direct], rel=1e-3)
    assert not np.allclose(one[direct + 60 :], other[direct + 60 :], atol=1e-4)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (room(1.0, 3.5), "source 2 at 6.50 x 2.50 x 1.50 m"),
        (room(1.0)._replace(microphone=(3.0, 5.0, 1.5)), "microphone at 3.00 x 5.00 x 1.50 m"),
        (room(1.0, rt60=0.03), "rt60=0.03 s"),
        (room(1.0, rt60=-1), "rt60=-1"),
        (room(1.0, rt60=5.0), "572"),
    ],
)
def test_rooms_that_cannot_be(asked, words):
    with pytest.raises(UserError) as error:
        simulate(asked, 8000, 0)
    assert words in str(error.value)
