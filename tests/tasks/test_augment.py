"""Whole micro-batches are cropped and mirrored as one image after the other would be."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hpc_adabatch.batches.keys import sample_keys, uniform
from hpc_adabatch.tasks.augment import CropAndFlip, NoAugmentation, Prepare

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


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 29), st.integers(0, 3), st.booleans())
def test_the_split_into_micro_batches_does_not_matter(cut: int, padding: int, flip: bool) -> None:
    transform, images, keys = CropAndFlip(PREPARE, padding, flip), images_of(30), keys_of(30)
    parts = [transform(images[part], keys[part]) for part in (slice(cut), slice(cut, None))]
    assert torch.equal(torch.cat(parts), transform(images, keys))


def test_an_epoch_crops_otherwise_than_the_one_before() -> None:
    transform, images = CropAndFlip(PREPARE, padding=2, flip=True), images_of(40)
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
    ],
    ids=["prepare", "no augmentation", "neither crop nor flip", "crop and flip"],
)
def test_the_training_set_stays_as_it_is(transform: Callable[[torch.Tensor], torch.Tensor], dtype: torch.dtype) -> None:
    """Bug story: images stored as floats were normalised in place, once more at every step."""
    images = images_of(8, dtype=dtype)
    before = images.clone()
    first, second = transform(images), transform(images)
    assert torch.equal(images, before)
    assert torch.equal(first, second)
