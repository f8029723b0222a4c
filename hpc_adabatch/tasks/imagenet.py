"""ImageNet, or any folder of its kind, with ImageNet's crops and network: ResNet-50 on 224x224 pixels.

Russakovsky et al. 2015, https://arxiv.org/abs/1409.0575: 1,281,167 images of 1,000 classes to train on, 50,000 to test.

             stored, by loader workers                      on the device, whole micro-batches
    train    shorter side ``stored_size``, middle cut out   random resized crop, mirror (augment.py)
    test     shorter side ``test_size``, middle cut out     the middle, ``image_size``

Draws belong to samples, so an epoch's crops are the same for any number of ranks, batches and workers. torchvision's
reference crops each file as it is; training here differs from it in three ways:

- The crop lies inside the middle square: the rest of a wide or high image is never trained on.
- Areas of 8 % to 100 % are parts of the square, which has 75 % of an image of 500x375 pixels: crops show less of it.
- Images are scaled twice, to ``stored_size`` and to ``image_size``, so small crops are blurred: 8 % of 256x256 are
  72x72 pixels, enlarged to 224x224; in a file of 500x375 pixels they were 106x106. A larger ``stored_size`` keeps more,
  but takes more memory and traffic; if it is far above ``image_size``, large crops begin to alias.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..cluster import Cluster, SingleProcess
from ..errors import require
from .augment import CentreCut, NoAugmentation, Prepare, RandomResizedCrop
from .image_folder import FolderTask
from .task import TaskData


@dataclass(frozen=True, kw_only=True)
class ImageNet(FolderTask):
    """ImageNet, or a folder of its kind: one subfolder for each class, with ImageNet's crops."""

    default_model: ClassVar[str] = "resnet50"

    root: str = "data/imagenet"
    """Folder that holds train/ and val/ (or test/)."""
    label_smoothing: float = 0.1
    """Part of each training target that is spread evenly over all classes; 0 to below 1."""
    image_size: int = 224
    """Pixels a side of the images that the network sees."""
    stored_size: int = 256
    """Pixels a side of training images after decoding and before the random crop."""
    test_size: int = 256
    """Shorter side of test images before their middle is cut out, in pixels."""
    least_area: float = 0.08
    """Smallest area of a random crop, as a part of the stored image's area."""
    augment: bool = True
    """Crops training images at random and mirrors half of them; if false, their middle is cut out."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.image_size >= 1, "task.image_size", self.image_size, "1 or more", "--task.image_size 224")
        for name in ("stored_size", "test_size"):
            size, allowed = getattr(self, name), f"image_size ({self.image_size}) or more"
            require(size >= self.image_size, f"task.{name}", size, allowed, f"--task.{name} {self.image_size}")
        allowed, example = "more than 0, at most 1", "--task.least_area 0.08"
        require(0 < self.least_area <= 1, "task.least_area", self.least_area, allowed, example)

    def load(self, cluster: Cluster | None = None) -> TaskData:
        cluster = cluster or SingleProcess()
        train, test = self.listings(cluster)
        mean, std = tuple(self.mean), tuple(self.std)
        cut = CentreCut(mean, std, self.image_size)
        crop = RandomResizedCrop(Prepare(mean, std), self.image_size, self.least_area)
        return TaskData(
            train=self.dataset(train, self.stored_size, cluster),
            test=self.dataset(test, self.test_size, cluster),
            augment=crop if self.augment else NoAugmentation(cut),
            prepare=cut,
            sample_shape=(3, self.image_size, self.image_size),
            n_classes=len(train.classes),
            told=self.told(train, test),
        )
