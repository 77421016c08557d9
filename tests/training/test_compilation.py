import pytest
import torch
from torch._dynamo.utils import counters
from torch._inductor import config as inductor

from mixit_lightning.training.checkpoints import load_checkpoint
from mixit_lightning.training.evaluate import evaluate
from mixit_lightning.training.module import SeparationModule
from mixit_lightning.training.train import train

STEPS = ["datamodule.steps_per_epoch=2", "trainer.max_steps=4"]


def weights(folder):
    return load_checkpoint(folder / "checkpoints" / "last.ckpt")["state_dict"]


@pytest.mark.slow
def test_without_a_compiler_training_says_so_and_is_the_same(tiny, tmp_path, capsys):
    plain = weights(train(tiny(*STEPS)))
    with inductor.patch({"cpp.cxx": ("no-such-compiler",), "force_disable_caches": True}):
        folder = train(tiny(*STEPS, "compile=true", f"runs={tmp_path / 'compiled'}"))
    assert "compile: failed" in capsys.readouterr().out
    assert folder.name == train(tiny(*STEPS)).name
    assert all(torch.equal(value, plain[name]) for name, value in weights(folder).items())


@pytest.mark.slow
def test_compiled_training_is_stopped_resumed_and_evaluated_like_any_other(tiny, tmp_path, monkeypatch, capsys):
    plain = weights(train(tiny(*STEPS)))
    whole_step = SeparationModule.training_step

    def stopped(module, *arguments):
        if module.global_step == 3:
            raise RuntimeError("stopped")
        return whole_step(module, *arguments)

    config = tiny(*STEPS, "compile=true", f"runs={tmp_path / 'compiled'}")
    monkeypatch.setattr(SeparationModule, "training_step", stopped)
    with pytest.raises(RuntimeError, match="stopped"):
        train(config)
    monkeypatch.setattr(SeparationModule, "training_step", whole_step)
    torch._dynamo.reset()  # as a new process would
    counters.clear()
    folder = train(config)
    assert counters["stats"]["unique_graphs"]  # what was stopped left no setting that keeps it from compiling
    assert capsys.readouterr().out.count("compile: took") == 2
    resumed = weights(folder)
    assert resumed.keys() == plain.keys()
    for name, value in resumed.items():
        torch.testing.assert_close(value, plain[name], rtol=0, atol=1e-4)
    assert evaluate(tiny(*STEPS, f"runs={tmp_path / 'compiled'}")) == folder
