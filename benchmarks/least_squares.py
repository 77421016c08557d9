"""How often does least squares choose another mixing matrix than the exact search, and what does it cost?

A finished run's best checkpoint separates mixtures of mixtures of its test list: each mixture and the next ones, as in
evaluation. For every one of them both searches choose a matrix; the cost is the difference of the MixIT losses of the
two, in dB, never negative. The words are those that trained the run:

    python benchmarks/least_squares.py recipe=fuss data=PATH separator=tdcnpp-small ...
"""

import json
import sys

import torch

from mixit_lightning.config import build, load_config
from mixit_lightning.objectives import mixit
from mixit_lightning.run import provenance
from mixit_lightning.training.checkpoints import load_checkpoint
from mixit_lightning.training.parts import build_module


@torch.inference_mode()
def main() -> None:
    """Print the comparison as JSON."""
    config = load_config(sys.argv[1:])
    datamodule = build(config.settings, "datamodule")
    datamodule.setup()
    checkpoint = config.folder / "checkpoints" / "best.ckpt"
    module = build_module(config.settings)
    module.load_weights(load_checkpoint(checkpoint)["state_dict"], checkpoint)
    module.eval()
    differ, costs = [], []
    for batch in datamodule.test_dataloader():
        moms = torch.cat([batch.mixtures[:, None], batch.partners], 1)
        estimates = module(moms.sum(1))
        exact, approximate = (mixit(estimates, moms, search=search) for search in ("exact", "least_squares"))
        differ.append((exact.mixing_matrix != approximate.mixing_matrix).flatten(1).any(1))
        costs.append(approximate.loss - exact.loss)
    other, cost = torch.cat(differ), torch.cat(costs)
    print(
        json.dumps(
            {
                "run": config.settings.run,
                "mixtures_of_mixtures": len(other),
                "outputs": config.settings.num_outputs,
                "another_matrix_share": round(other.float().mean().item(), 4),
                "cost_db_mean": round(cost.mean().item(), 4),
                "another_matrix_that_costs_share": round((cost > 0.01).float().mean().item(), 4),
                "cost_db_mean_where_another": round(cost[other].mean().item(), 4) if other.any() else None,
                "cost_db_90th_percentile": round(cost.quantile(0.9).item(), 4),
                "cost_db_largest": round(cost.max().item(), 4),
                **provenance(),
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
