"""Whole micro-batches are cropped, scaled and mirrored as one image after the other would be."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch.nn.functional import interpolate

from hpc_adabatch.batches.keys import sample_keys, uniform
from hpc_adabatch.tasks.augment import CentreCut, CropAndFlip, NoAugmentation, Prepare, RandomResizedCrop
from hpc_adabatch.tasks.vision import torchvision

LOG_RATIO = math.log(4 / 3)  # of the longest crop
PREPARE = Prepare(mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.1))


def images_of(n_images: int, *, dtype: torch.dtype = torch.uint8, height: int = 7, width: int = 5) -> torch.Tensor:
    images = torch.randint(0, 256, (n_images, 3, height, width), generator=torch.Generator().manual_seed(0))
    return images.to(torch.uint8) if dtype == torch.uint8 else images.to(dtype) / 255


def keys_of(n_images: int, epoch: int = 0) -> torch.Tensor:
    return sample_keys(1, epoch, torch.arange(n_images))


def one_by_one(images: torch.Tensor, keys: torch.Tensor, padding: int, flip: bool) -> torch.Tensor:
    """The slow reference: pad, cut out, mirror, normalise; a loop over images and channels."""
    scale = 255 if images.dtype == torch.uint8 else 1
    height, width = images.shape[2:]
    outputs = []
    for image, key in zip(images, keys.view(-1, 1), strict=True):
        canvas = torch.zeros(3, height + 2 * padding, width + 2 * padding, dtype=torch.float64)
        canvas[:, padding : padding + height, padding : padding + width] = image.double() / scale
        y, x = (int(uniform(key, stream, 2 * padding + 1)) for stream in (1, 2))
        cut = canvas[:, y : y + height, x : x + width]
        if flip and int(uniform(key, 3, 2)) == 1:
            cut = cut.flip(2)
        channels = zip(cut, PREPARE.mean, PREPARE.std, strict=True)
        outputs.append(torch.stack([(channel - mean) / std for channel, mean, std in channels]))
    return torch.stack(outputs).float()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("flip", [True, False])
@pytest.mark.parametrize("padding", [0, 1, 4])
def test_crop_and_flip_equals_one_image_after_the_other(
    padding: int, flip: bool, dtype: torch.dtype, layout: torch.memory_format
) -> None:
    images, keys = images_of(40, dtype=dtype), keys_of(40)
    outputs = CropAndFlip(PREPARE, padding, flip)(images.contiguous(memory_format=layout), keys)
    assert outputs.dtype == torch.float32
    torch.testing.assert_close(outputs, one_by_one(images, keys, padding, flip), rtol=1e-5, atol=1e-5)


CROPS = [CropAndFlip(PREPARE, padding, flip) for padding in (0, 3) for flip in (False, True)] + [
    RandomResizedCrop(PREPARE, size) for size in (3, 12)
]


@settings(max_examples=40)
@given(st.integers(1, 29), st.sampled_from(CROPS))
def test_the_split_into_micro_batches_does_not_matter(cut: int, transform: CropAndFlip | RandomResizedCrop) -> None:
    images, keys = images_of(30), keys_of(30)
    parts = [transform(images[part], keys[part]) for part in (slice(cut), slice(cut, None))]
    assert torch.equal(torch.cat(parts), transform(images, keys))


@pytest.mark.parametrize("transform", [CropAndFlip(PREPARE, 2, True), RandomResizedCrop(PREPARE, 6)])
def test_an_epoch_crops_otherwise_than_the_one_before(transform: CropAndFlip | RandomResizedCrop) -> None:
    images = images_of(40)
    now, then = (transform(images, keys_of(40, epoch)) for epoch in (0, 1))
    assert sum(torch.equal(a, b) for a, b in zip(now, then, strict=True)) < 5  # 1 of 50 by chance


def test_no_augmentation_prepares_training_images_like_test_images() -> None:
    assert torch.equal(NoAugmentation(PREPARE)(images_of(4), keys_of(4)), PREPARE(images_of(4)))


def test_preparing_worked_by_hand() -> None:
    image = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 3, 1, 1)
    expected = torch.tensor([(0 - 0.5) / 0.2, (0.2 - 0.4) / 0.3, (1 - 0.3) / 0.1]).view(1, 3, 1, 1)
    torch.testing.assert_close(PREPARE(image), expected)
    torch.testing.assert_close(PREPARE(image.float() / 255), expected)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize(
    "transform",
    [
        lambda images: PREPARE(images),
        lambda images: NoAugmentation(PREPARE)(images, keys_of(len(images))),
        lambda images: CropAndFlip(PREPARE, 0, False)(images, keys_of(len(images))),
        lambda images: CropAndFlip(PREPARE, 2, True)(images, keys_of(len(images))),
        lambda images: RandomResizedCrop(PREPARE, 4)(images, keys_of(len(images))),
        lambda images: CentreCut(PREPARE.mean, PREPARE.std, 5)(images),
    ],
    ids=["prepare", "no augmentation", "neither crop nor flip", "crop and flip", "resized crop", "centre"],
)
def test_the_training_set_stays_as_it_is(transform: Callable[[torch.Tensor], torch.Tensor], dtype: torch.dtype) -> None:
    """Bug story: images stored as floats were normalised in place, once more at every step."""
    images = images_of(8, dtype=dtype)
    before = images.clone()
    first, second = transform(images), transform(images)
    assert torch.equal(images, before)
    assert torch.equal(first, second)


def resized_one_by_one(images: torch.Tensor, keys: torch.Tensor, crop: RandomResizedCrop) -> torch.Tensor:
    """The slow reference: bilinear interpolation pixel by pixel in float64, corners clamped to the image."""
    stored = images.double() / 255
    side, size = images.shape[3], crop.size
    outputs = torch.empty(len(images), 3, size, size, dtype=torch.float64)

    def neighbours(place: float) -> list[tuple[int, float]]:
        pixel = min(max(place * side - 0.5, 0.0), side - 1.0)
        low = min(int(pixel), side - 2)
        return [(low, 1 - (pixel - low)), (low + 1, pixel - low)]

    for index, (left, top, width, height) in enumerate(crop.boxes(keys).tolist()):
        mirrored = int(uniform(keys[index : index + 1], 3, 2)) == 1
        for row in range(size):
            for column in range(size):
                x = left + width * ((size - 1 - column if mirrored else column) + 0.5) / size
                y = top + height * (row + 0.5) / size
                outputs[index, :, row, column] = sum(
                    stored[index, :, at_y, at_x] * part_y * part_x
                    for at_y, part_y in neighbours(y)
                    for at_x, part_x in neighbours(x)
                )
    mean, std = (torch.tensor(values, dtype=torch.float64).view(-1, 1, 1) for values in (PREPARE.mean, PREPARE.std))
    return ((outputs - mean) / std).float()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("size", [4, 9])
def test_resized_crops_equal_one_pixel_after_the_other(size: int, layout: torch.memory_format) -> None:
    images, keys = images_of(20, height=7, width=7), keys_of(20)
    crop = RandomResizedCrop(PREPARE, size)
    outputs = crop(images.contiguous(memory_format=layout), keys)
    assert outputs.dtype == torch.float32
    torch.testing.assert_close(outputs, resized_one_by_one(images, keys, crop), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [5, 7, 16])
def test_the_whole_image_as_a_crop_is_the_plain_resize(size: int) -> None:
    """No other crop of the whole area fits; so these are the images of which all tries have failed, too."""
    images, keys = images_of(30, height=7, width=7), keys_of(30)
    crop = RandomResizedCrop(PREPARE, size, least_area=1.0)
    assert torch.equal(crop.boxes(keys), torch.tensor([0.0, 0.0, 1.0, 1.0]).double().expand(30, -1))
    plain = interpolate(PREPARE(images), size=(size, size), mode="bilinear", align_corners=False)
    mirrored = uniform(keys, 3, 2).bool()
    assert 5 < mirrored.sum() < 25
    expected = torch.where(mirrored[:, None, None, None], plain.flip(3), plain)
    torch.testing.assert_close(crop(images, keys), expected, rtol=1e-4, atol=1e-4)


@given(st.integers(0, 2**62), st.floats(0.01, 1.0))
@settings(max_examples=30)
def test_crops_lie_inside_the_image_and_have_the_area_and_the_aspect_asked_for(seed: int, least_area: float) -> None:
    left, top, width, height = (
        RandomResizedCrop(PREPARE, 4, least_area).boxes(sample_keys(seed, 0, torch.arange(500))).T
    )
    assert min(left.min(), top.min()) >= 0
    assert max((left + width).max(), (top + height).max()) <= 1 + 1e-12
    assert (width * height).min() >= least_area - 1e-12
    assert (width / height).log().abs().max() <= LOG_RATIO + 1e-12


def drawn(n_samples: int = 20_000) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Area, logarithm of the aspect ratio, and where crops lie in the space that they leave."""
    left, top, width, height = RandomResizedCrop(PREPARE, 4).boxes(keys_of(n_samples)).T
    columns = (width * height, (width / height).log(), left / (1 - width), top / (1 - height))
    return columns[0].numpy(), columns[1].numpy(), columns[2].numpy(), columns[3].numpy()


def test_area_and_aspect_are_uniform_where_every_aspect_fits() -> None:
    """Crops of up to 3/4 of the area fit with any aspect ratio."""
    area, log_ratio, x, y = drawn()
    small = area < 0.75
    assert stats.kstest(area[small], stats.uniform(0.08, 0.67).cdf).pvalue > 0.01
    assert stats.kstest(log_ratio[small], stats.uniform(-LOG_RATIO, 2 * LOG_RATIO).cdf).pvalue > 0.01
    assert stats.kstest(x, "uniform").pvalue > 0.01
    assert stats.kstest(y, "uniform").pvalue > 0.01
    for one, other in ((area[small], np.abs(log_ratio[small])), (area, x), (area, y), (x, y), (log_ratio, x)):
        assert stats.spearmanr(one, other).pvalue > 0.01


def test_larger_crops_are_uniform_over_what_fits() -> None:
    """Area and log ratio l lie evenly on area <= exp(-|l|); the closed form of l's share, and of the area given l."""
    area, log_ratio, _, _ = drawn()
    depth = np.abs(log_ratio)

    def share(depth: np.ndarray) -> np.ndarray:
        return 1 - np.exp(-depth) - 0.08 * depth  # integral of exp(-l) - 0.08

    assert stats.kstest(share(depth) / share(np.array(LOG_RATIO)), "uniform").pvalue > 0.01
    assert stats.kstest((area - 0.08) / (np.exp(-depth) - 0.08), "uniform").pvalue > 0.01
    assert abs((log_ratio > 0).mean() - 0.5) < 0.01


def test_crops_are_distributed_like_torchvisions() -> None:
    torch.manual_seed(0)
    side = 4000
    image = torch.empty(1, side, side)
    pick = torchvision.transforms.RandomResizedCrop.get_params
    theirs = (
        np.array([pick(image, [0.08, 1.0], [3 / 4, 4 / 3]) for _ in range(4000)]) / side
    )  # top, left, height, width
    left, top, width, height = RandomResizedCrop(PREPARE, 4).boxes(keys_of(20_000)).numpy().T
    pairs = [(left, theirs[:, 1]), (top, theirs[:, 0]), (width, theirs[:, 3]), (height, theirs[:, 2])]
    pairs += [(width * height, theirs[:, 2] * theirs[:, 3]), (width / height, theirs[:, 3] / theirs[:, 2])]
    for ours, reference in pairs:
        assert stats.ks_2samp(ours, reference).pvalue > 0.01


def test_the_middle_is_cut_out_as_torchvision_does() -> None:
    images = images_of(3, height=12, width=10)
    expected = PREPARE(torchvision.transforms.functional.center_crop(images, [6, 6]))
    assert torch.equal(CentreCut(PREPARE.mean, PREPARE.std, 6)(images), expected)
