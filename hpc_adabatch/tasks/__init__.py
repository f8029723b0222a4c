"""What there is to learn. Recipes name a task by its entry here."""

from .cifar import Cifar10, Cifar100
from .convex import Logistic, Ridge
from .digits import Digits
from .image_folder import ImageFolder
from .task import Task, TaskData

TASKS: dict[str, type[Task]] = {
    "digits": Digits,
    "cifar10": Cifar10,
    "cifar100": Cifar100,
    "image_folder": ImageFolder,
    "ridge": Ridge,
    "logistic": Logistic,
}

__all__ = ["TASKS", "Cifar10", "Cifar100", "Digits", "ImageFolder", "Logistic", "Ridge", "Task", "TaskData"]
