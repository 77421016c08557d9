"""The table of a test set: one row per example, whatever the batches."""

import lightning
import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import DataLoader

from mixit_lightning.data import EvaluationBatch
from mixit_lightning.metrics import momi, si_snr
from mixit_lightning.objectives import Objective
from mixit_lightning.training.evaluate import choose_examples
from mixit_lightning.training.module import SeparationModule

COUNT, LENGTH = 7, 600


class Separate(torch.nn.Module):
    def forward(self, mixtures):
        return separate(mixtures)


def score(batches):
    """What Lightning's own test loop makes of batches."""
    module = SeparationModule(Separate(), Objective(labelled_share=0.0), torch.optim.Adam, lambda step: 1.0)
    trainer = lightning.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    trainer.test(module, dataloaders=DataLoader(batches, batch_size=None), verbose=False)
    return module.test_results


def separate(mixtures):
    """Four outputs that add up to the mixture."""
    first, second = mixtures.cumsum(-1) / 9, mixtures.roll(1, -1) / 2
    return torch.stack([first, second, 0.1 * mixtures, 0.9 * mixtures - first - second], 1)


def scored(size):
    torch.manual_seed(0)
    references = torch.randn(COUNT, 2, LENGTH)
    references[3, 1] = 0
    mixtures = references.sum(1)
    partners = mixtures.roll(1, 0)[:, None]
    batches = [
        EvaluationBatch(*(part[first : first + size] for part in (mixtures, references, partners)), names)
        for first in range(0, COUNT, size)
        for names in [[f"mixture {number}" for number in range(first, min(first + size, COUNT))]]
    ]
    return score(batches), references, partners


def test_a_row_an_example_whatever_the_batches():
    (alone, values), references, partners = scored(1)
    (together, same), _, _ = scored(3)
    pd.testing.assert_frame_equal(alone, together)
    assert values == pytest.approx(same)
    assert alone.name.tolist() == [f"mixture {number}" for number in range(COUNT)]
    assert alone.num_references.tolist() == [2, 2, 2, 1, 2, 2, 2] and alone.num_references.dtype.kind == "i"
    mixtures = references.sum(1)
    for number, row in alone.iterrows():
        moms = torch.stack([mixtures[number], partners[number, 0]])[None]
        assert row.momi == pytest.approx(momi(separate(moms.sum(1)), moms).item(), abs=1e-6)
        if number != 3:
            before = si_snr(mixtures[number], references[number]).mean().item()
            assert row.input_si_snr == pytest.approx(before, abs=1e-6)
    assert alone.input_si_snr.isna().tolist() == [number == 3 for number in range(COUNT)]
    assert values["momi"] == pytest.approx(alone.momi.mean(), abs=1e-4)
    assert values["si_snri"] == pytest.approx(alone.si_snri.mean(), abs=1e-4)


def test_a_single_mixture_has_no_momi():
    torch.manual_seed(0)
    references = torch.randn(1, 2, LENGTH)
    batch = EvaluationBatch(references.sum(1), references, torch.zeros(1, 0, LENGTH), ["alone"])
    table, values = score([batch])
    assert values["momi"] is None and table.momi.isna().all() and values["si_snri"] is not None


def rows_of(sources, seed):
    """A row a test mixture, as evaluation makes them; what a run scored differs, the test set does not."""
    values = np.random.default_rng(seed).normal(5, 3, len(sources))
    alone = np.array(sources) == 1
    nothing = np.full(len(sources), np.nan)
    columns = {"si_snri": np.where(alone, nothing, values), "one_source": np.where(alone, values, nothing)}
    return pd.DataFrame({"num_references": sources, "momi": values, **columns})


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        ([2] * 300, {50, 150, 250}),
        ([1, 2, 3] * 20, {10, 31, 50, 30}),
        ([1] * 9, {4}),
        ([2], {0}),
        ([0] * 6, {1, 3, 5}),
    ],
)
def test_some_examples_are_the_same_in_every_run(sources, expected):
    chosen = [choose_examples(rows_of(sources, seed)) for seed in range(20)]
    same = set.intersection(*map(set, chosen))
    assert same == expected
    assert {number for choice in chosen for number, why in choice.items() if why == "the same in every run"} <= expected
