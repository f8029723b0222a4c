"""Tasks: data, network, loss and metric. Recipes name a task by its entry in ``TASKS``."""

from .cifar import Cifar10, Cifar100
from .convex import Logistic, Ridge
from .digits import Digits
from .image_folder import ImageFolder
from .imagenet import ImageNet
from .task import Task, TaskData
from .text import Text

TASKS: dict[str, type[Task]] = {
    "digits": Digits,
    "cifar10": Cifar10,
    "cifar100": Cifar100,
    "image_folder": ImageFolder,
    "imagenet": ImageNet,
    "ridge": Ridge,
    "logistic": Logistic,
    "text": Text,
}

__all__ = [
    "TASKS",
    "Cifar10",
    "Cifar100",
    "Digits",
    "ImageFolder",
    "ImageNet",
    "Logistic",
    "Ridge",
    "Task",
    "TaskData",
    "Text",
]
