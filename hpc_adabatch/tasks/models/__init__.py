"""Networks by name: ours for small images, and every classification model of torchvision."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

from ...errors import InputError
from .alexnet_cifar import CifarAlexNet
from .lstm import RowLstm, sizes
from .narrow_cnn import NarrowCnn
from .resnet_cifar import CifarResNet
from .small_cnn import SmallCnn
from .vgg_cifar import CifarVgg

DEPTHS = (20, 32, 44, 56, 110)
OURS: dict[str, Callable[[int, int], nn.Module]] = {  # (classes, channels of the images) -> network
    "small_cnn": SmallCnn,
    "narrow_cnn": NarrowCnn,
    "narrow_cnn_bn": partial(NarrowCnn, batch_norm=True),
    **{f"resnet{depth}": partial(CifarResNet, depth) for depth in DEPTHS},
    "cifar_alexnet": CifarAlexNet,
    "cifar_vgg19_bn": CifarVgg,
}


def build_model(name: str, n_classes: int, sample_shape: tuple[int, ...]) -> nn.Module:
    """Returns a network by name, with fresh weights.

    ``resnet20`` to ``resnet110`` are the CIFAR networks of depth 6n + 2; torchvision's ``resnet18``, ``resnet34``,
    ``resnet50``, ``alexnet``, ``vgg19_bn``, ... are ImageNet's: ``googlenet`` and ``inception_v3`` without their
    auxiliary classifiers, ``vit_...`` and ``maxvit_t`` for images of this size. ``lstm_1x128``, or any other size,
    reads an image row by row.

    Args:
        name: Name of the network.
        n_classes: Number of classes.
        sample_shape: Shape of one input, (channels, height, width).

    Raises:
        InputError: There is no such network, or it does not take such images.
    """
    channels = sample_shape[0]
    if name.startswith("lstm"):
        return RowLstm(*sizes(name), n_classes, features=channels * sample_shape[2])
    if name in OURS:
        return OURS[name](n_classes, channels)
    from ..vision import models

    known = models.list_models(module=models)
    if name not in known:
        near = difflib.get_close_matches(name, [*OURS, *known], n=1)
        raise InputError(
            "model",
            name,
            f"{', '.join(OURS)}, lstm_LxH or a classification model of torchvision",
            f"--model {near[0] if near else next(iter(OURS))}",
        )
    if channels != 3:
        allowed = f"{', '.join(OURS)}, for images of {channels} channel(s)"
        raise InputError("model", name, allowed, "--model small_cnn")
    return models.get_model(name, weights=None, num_classes=n_classes, **_of_torchvision(name, sample_shape))


def _of_torchvision(name: str, sample_shape: tuple[int, ...]) -> dict[str, Any]:
    """Returns what a network must be told so that it takes images of this size, and returns one tensor in training."""
    _, height, width = sample_shape
    if name in ("googlenet", "inception_v3"):
        return {"aux_logits": False, "init_weights": True}
    if name.startswith("vit_"):  # which takes squares only
        return {"image_size": height}
    return {"input_size": (height, width)} if name.startswith("maxvit") else {}
