import math

import lightning
import pytest
import torch
from hydra.utils import instantiate

from mixit_lightning.data import TrainingBatch
from mixit_lightning.errors import UserError
from mixit_lightning.metrics import momi, separation_scores
from mixit_lightning.objectives import Objective, mixit, pit
from mixit_lightning.training.module import SeparationModule
from mixit_lightning.training.parts import build_module
from mixit_lightning.training.schedules import cosine, halving


def linear_module(labelled_share=0.5):
    """A separator of one convolution, for gradients one can check."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Unflatten(1, (1, -1)), torch.nn.Conv1d(1, 3, 5, padding=2, bias=False))
    return SeparationModule(network, Objective(labelled_share), lambda p: torch.optim.SGD(p, lr=0.1), lambda step: 1.0)


def trainer(**settings):
    return lightning.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **settings,
    )


def training_batch(labelled=2, unlabelled=2, length=400):
    torch.manual_seed(1)
    references = torch.randn(labelled, 2, length)
    mixtures = torch.cat([references.sum(1), torch.randn(2 * unlabelled, length)])
    return TrainingBatch(mixtures, references, [f"recording-{number}" for number in range(len(mixtures))])


def fit_one(module, batch, **settings):
    loader = torch.utils.data.DataLoader([batch], batch_size=None)
    trainer(max_steps=1, **settings).fit(module, loader)


def test_one_step_follows_the_gradient_of_the_mean_over_examples():
    module, batch = linear_module(), training_batch()
    before = module.separator[1].weight.detach().clone().requires_grad_()

    def separate(signal):
        return torch.nn.functional.conv1d(signal[:, None], before, padding=2)

    labelled = pit(separate(batch.mixtures[:2]), batch.references).loss
    groups = batch.mixtures[2:].view(2, 2, -1)
    unlabelled = mixit(separate(groups.sum(1)), groups).loss
    (gradient,) = torch.autograd.grad((labelled.sum() + unlabelled.sum()) / 4, before)
    fit_one(module, batch)
    assert torch.allclose(module.separator[1].weight, before - 0.1 * gradient, atol=1e-5)


def test_the_gradient_is_clipped_by_norm():
    module = linear_module()
    before = module.separator[1].weight.detach().clone()
    fit_one(module, training_batch(), gradient_clip_val=0.01)
    assert (module.separator[1].weight - before).norm().item() == pytest.approx(0.1 * 0.01, rel=1e-3)


@pytest.mark.parametrize(("item", "named"), [(1, ["recording-1"]), (3, ["recording-2", "recording-3"])])
def test_a_loss_that_is_not_finite_names_its_recordings(item, named):
    batch = training_batch()
    batch.mixtures[item, 7] = math.nan
    with pytest.raises(UserError, match="step 0 .*" + ", ".join(named)):
        fit_one(linear_module(), batch)


def test_a_gradient_that_is_not_finite_never_reaches_the_weights():
    module, batch = linear_module(), training_batch()
    before = module.separator[1].weight.detach().clone()
    module.separator[1].weight.register_hook(lambda gradient: gradient * math.inf)
    with pytest.raises(UserError, match=r"gradient is not finite .*recording-0.*recording-5"):
        fit_one(module, batch)
    assert torch.equal(module.separator[1].weight, before)


def test_losses_are_float32_under_bfloat16():
    module, batch = linear_module(), training_batch()
    with torch.autocast("cpu", torch.bfloat16):
        examples = module.objective.examples(batch.mixtures, batch.references)
        estimates = module.separator(examples.inputs)
        losses = module.objective(estimates, examples)
    assert estimates.dtype == torch.bfloat16
    assert losses.dtype == torch.float32


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_validation_sees_every_mixture_once_and_logs_both_losses(tiny, share):
    config = tiny(f"objective.labelled_share={share}")
    datamodule = instantiate(config.settings.datamodule)
    module = build_module(config.settings)
    logged = trainer().validate(module, datamodule=datamodule, verbose=False)[0]
    datamodule.setup()
    items = [datamodule.evaluation["valid"][number] for number in range(7)]
    pit_losses, mixit_losses, improvements, single, mom_improvements = [], [], [], [], []
    module.eval()
    with torch.no_grad():
        for number, item in enumerate(items):
            references = item.references[None]
            estimates = module(item.mixture[None])
            padded = torch.nn.functional.pad(references, (0, 0, 0, 2 - references.shape[1]))
            pit_losses.append(pit(estimates, padded).loss)
            scores = separation_scores(estimates, references, item.mixture[None])
            improvements.append(scores.si_snri)
            single.append(scores.one_source)
            mixtures = torch.stack([item.mixture, items[(number + 1) % 7].mixture])[None]
            from_sum = module(mixtures.sum(1))
            mixit_losses.append(mixit(from_sum, mixtures).loss)
            mom_improvements.append(momi(from_sum, mixtures))
    expected = {
        "val/pit_loss": torch.cat(pit_losses).mean(),
        "val/mixit_loss": torch.cat(mixit_losses).mean(),
        "val/si_snri": torch.cat(improvements).nanmean(),
        "val/one_source": torch.cat(single).nanmean(),
        "val/momi": torch.cat(mom_improvements).mean(),
    }
    for name, value in expected.items():
        assert logged[name] == pytest.approx(value.item(), abs=2e-3), name
    mean = share * expected["val/pit_loss"] + (1 - share) * expected["val/mixit_loss"]
    assert logged["val/loss"] == pytest.approx(mean.item(), abs=2e-3)


def test_schedules():
    factor = cosine(steps=110, warmup=10)
    assert [factor(0), factor(9), factor(10)] == pytest.approx([0.1, 1.0, 1.0])
    assert [factor(60), factor(110), factor(500)] == pytest.approx([0.5, 0.0, 0.0])
    assert cosine(steps=100, final=0.2)(100) == pytest.approx(0.2)
    assert [halving(2e6)(step) for step in (0, 1_000_000, 4_000_000)] == pytest.approx([1, 0.5**0.5, 0.25])
