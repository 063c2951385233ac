"""Batch norm folded into the convolutions before it, for inference and export: one pass over memory less a layer."""

from __future__ import annotations

import copy
from typing import TypeVar

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

NetworkT = TypeVar("NetworkT", bound=nn.Module)
_PAIRS = (("conv", "norm"), ("stem", "stem_norm"))


def fold_batch_norm(network: NetworkT) -> NetworkT:
    """A copy of a network in eval mode whose (conv, batch norm) pairs are one convolution with a bias each."""
    folded = copy.deepcopy(network).eval()
    for module in folded.modules():
        for conv_name, norm_name in _PAIRS:
            conv, norm = getattr(module, conv_name, None), getattr(module, norm_name, None)
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, conv_name, fuse_conv_bn_eval(conv, norm))
                setattr(module, norm_name, nn.Identity())
    return folded
