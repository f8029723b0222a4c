"""Networks by name: ours for small images, and every classification model of torchvision."""

from __future__ import annotations

import difflib

from torch import nn

from ...errors import InputError
from .resnet_cifar import CifarResNet
from .small_cnn import SmallCnn

DEPTHS = (20, 32, 44, 56, 110)
OURS = ("small_cnn", *(f"resnet{depth}" for depth in DEPTHS))


def build_model(name: str, n_classes: int, sample_shape: tuple[int, ...]) -> nn.Module:
    """The network of this name with fresh weights.

    ``resnet20`` to ``resnet110`` are the CIFAR networks of depth 6n + 2; torchvision's ``resnet18``, ``resnet34``,
    ``resnet50``, ... are ImageNet's.

    Raises:
        InputError: there is no such network, or it does not take such images.
    """
    channels = sample_shape[0]
    if name == "small_cnn":
        return SmallCnn(n_classes, channels)
    if name in OURS:
        return CifarResNet(int(name.removeprefix("resnet")), n_classes, channels)
    from ..vision import models

    known = models.list_models(module=models)
    if name not in known:
        near = difflib.get_close_matches(name, [*OURS, *known], n=1)
        raise InputError(
            "model",
            name,
            f"{', '.join(OURS)} or a classification model of torchvision",
            f"--model {near[0] if near else OURS[0]}",
        )
    if channels != 3:
        raise InputError(
            "model", name, f"small_cnn or a CIFAR resnet for images of {channels} channel(s)", "--model small_cnn"
        )
    return models.get_model(name, weights=None, num_classes=n_classes)
