"""Settings that make a run short."""

NETWORK = [
    "separator.bottleneck=8",
    "separator.conv_channels=16",
    "separator.repeats=1",
    "separator.dilations_per_repeat=2",
    "trainer.accelerator=cpu",
]

TINY = [
    *NETWORK,
    "trainer.log_every_n_steps=1",
    "datamodule.num_workers=0",
    "datamodule.batch_size=2",
    "datamodule.duration=0.5",
    "datamodule.evaluation_batch_size=3",
    "datamodule.validation_counts=[2,5]",
    "datamodule.test_counts=[2,5]",
]
"""A run of a few seconds on generated sounds; numbers that batch sizes do not divide."""

SMALL = [
    "debug=fast",
    "trainer.accelerator=cpu",
    "trainer.enable_progress_bar=false",
    "separator=tdcnpp-small",
    "separator.bottleneck=8",
    "separator.conv_channels=16",
    "separator.repeats=1",
    "separator.dilations_per_repeat=2",
    "datamodule.duration=0.5",
]
"""A few steps of a small network."""

COUNTS = ["datamodule.validation_counts=[1,2]", "datamodule.test_counts=[2,4]"]
"""Short lists of mixtures of one and two sources."""
