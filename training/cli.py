"""The commands that `training` adds to `derain`: where each is, and its line in `derain --help`.

Only names here: a command's module is imported when the command is called, so that this stays free of torch.
"""

from __future__ import annotations

COMMANDS: dict[str, tuple[str, str]] = {
    "train": ("training.train_command:train", "Train a network from a YAML file; a stopped run goes on where it was."),
    "mean": ("training.mean_command:mean", "Mix several sets of weights of one network."),
    "eval": ("training.evaluate:eval_", "Measure a model on rainy and clean pairs: PSNR, SSIM, flicker, energy."),
    "inspect": ("training.inspect_command:inspect", "Draw where rain makes neurons fire, membranes, firing rates."),
    "rain": ("training.rain_command:rain", "Put rendered rain on a clean video."),
}
