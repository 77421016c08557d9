from pathlib import Path

import numpy as np
import pytest
import torch

from mixit_lightning.separators.mixture_consistency import KINDS, consistency_weights, mixture_consistency

GOLDEN = Path(__file__).parents[1] / "golden" / "mixture_consistency.npz"


@pytest.fixture(scope="module")
def golden() -> dict[str, torch.Tensor]:
    with np.load(GOLDEN) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


@pytest.mark.parametrize("kind", KINDS)
def test_agrees_with_the_released_code(golden, kind):
    estimates, mixture = golden["estimate"], golden["mixture"][:, 0]
    result = mixture_consistency(estimates, mixture, consistency_weights(kind, estimates, golden["weights"]))
    torch.testing.assert_close(result, golden[kind], rtol=0, atol=1e-5 * golden[kind].abs().max().item())


@pytest.mark.parametrize("kind", KINDS)
def test_adds_up_to_the_mixture_in_float32_under_autocast(golden, kind):
    estimates, mixture = golden["estimate"].bfloat16(), golden["mixture"][:, 0]
    predicted = golden["weights"].softmax(-1)
    with torch.autocast("cpu", torch.bfloat16):
        result = mixture_consistency(estimates, mixture, consistency_weights(kind, estimates, predicted))
    assert result.dtype == torch.float32
    torch.testing.assert_close(result.sum(1), mixture, rtol=0, atol=1e-5)


def test_weights_by_power_follow_the_power_and_share_silence_equally():
    estimates = torch.zeros(2, 2, 10)
    estimates[0, 1] = 3.0
    estimates[0, 0] = 1.0
    torch.testing.assert_close(consistency_weights("magsq", estimates), torch.tensor([[0.1, 0.9], [0.5, 0.5]]))


def test_gradients():
    torch.manual_seed(0)
    estimates = torch.randn(2, 3, 5, dtype=torch.float64, requires_grad=True)
    mixture = torch.randn(2, 5, dtype=torch.float64, requires_grad=True)

    def by_power(estimates, mixture):
        return mixture_consistency(estimates, mixture, consistency_weights("magsq", estimates))

    assert torch.autograd.gradcheck(by_power, (estimates, mixture))


def test_refusals():
    estimates, mixture, weights = torch.zeros(2, 3, 5), torch.zeros(2, 5), torch.zeros(2, 3)
    with pytest.raises(ValueError, match="'uniform', 'magsq', 'pred_source', but is 'power'"):
        consistency_weights("power", estimates)
    with pytest.raises(ValueError, match="needs predicted weights"):
        consistency_weights("pred_source", estimates)
    with pytest.raises(ValueError, match=r"mixture must be \(2, 5\)"):
        mixture_consistency(estimates, mixture[:, None], weights)
    with pytest.raises(ValueError, match=r"weights must be \(2, 3\)"):
        mixture_consistency(estimates, mixture, weights[..., None])
    with pytest.raises(ValueError, match=r"estimates must be \(batch, output, time\)"):
        mixture_consistency(mixture, mixture, weights)
