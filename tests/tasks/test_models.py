"""Networks by name: parameters counted by hand, shapes, and images that they do not take."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from hpc_adabatch.command_line import parse_recipe
from hpc_adabatch.errors import InputError
from hpc_adabatch.run.build import build_model as build_for_recipe
from hpc_adabatch.tasks.augment import NoAugmentation, Prepare
from hpc_adabatch.tasks.models import OURS, build_model
from hpc_adabatch.tasks.task import TaskData

pytestmark = pytest.mark.long

RECIPE = str(Path(__file__).resolve().parents[2] / "recipes" / "quickstart.yaml")


def convolution(side: int, channels_in: int, channels: int, *, bias: bool = True) -> int:
    return side**2 * channels_in * channels + channels * bias


def vgg(channels_in: int, classes: int) -> int:
    """Column E: convolutions without bias, weight and bias of each BatchNorm channel, one linear layer."""
    widths = [64] * 2 + [128] * 2 + [256] * 4 + [512] * 8
    pairs = zip([channels_in, *widths], widths, strict=False)
    return sum(convolution(3, before, after, bias=False) + 2 * after for before, after in pairs) + 513 * classes


def alexnet(channels_in: int, classes: int) -> int:
    sides, widths = (11, 5, 3, 3, 3), (64, 192, 384, 256, 256)
    layers = zip(sides, (channels_in, *widths), widths, strict=False)
    return sum(convolution(*layer) for layer in layers) + 257 * classes


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("small_cnn", 151_882),
        ("narrow_cnn", 33_834),
        ("narrow_cnn_bn", 33_946),
        ("resnet20", 272_474),
        ("resnet56", 855_770),
        ("cifar_alexnet", 2_472_266),
        ("cifar_vgg19_bn", 20_035_018),
        ("resnet18", 11_181_642),
    ],
)
def test_networks_by_name(name: str, parameters: int) -> None:
    """resnet20 and resnet56 count option B's shortcuts on top of the paper's 0.27 and 0.85 million."""
    model = build_model(name, 10, (3, 32, 32))
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters
    assert model.eval()(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


@pytest.mark.parametrize(("channels", "classes"), [(3, 10), (1, 100)])
def test_parameters_layer_by_layer(channels: int, classes: int) -> None:
    counts = {
        name: sum(parameter.numel() for parameter in build_model(name, classes, (channels, 32, 32)).parameters())
        for name in ("cifar_alexnet", "cifar_vgg19_bn")
    }
    assert counts == {"cifar_alexnet": alexnet(channels, classes), "cifar_vgg19_bn": vgg(channels, classes)}


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 40, 40), (3, 64, 48)])
def test_our_networks_take_images_of_32_pixels_and_more_and_learn_in_all_parts(
    name: str, shape: tuple[int, int, int]
) -> None:
    torch.manual_seed(0)
    model = build_model(name, 7, shape)
    outputs = model(torch.randn(4, *shape))
    assert outputs.shape == (4, 7)
    nn.functional.cross_entropy(outputs, torch.tensor([0, 1, 2, 3])).backward()  # type: ignore[no-untyped-call]
    for parameter in model.parameters():
        assert parameter.grad is not None
        assert parameter.grad.abs().sum() > 0


@pytest.mark.parametrize(("name", "multiplications"), [("narrow_cnn", 2.8e6), ("small_cnn", 19.9e6)])
def test_the_narrow_network_costs_what_its_docstring_says(name: str, multiplications: float) -> None:
    counted = 0

    def count(module: nn.Module, _: object, output: torch.Tensor) -> None:
        nonlocal counted
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            places = output[0, 0].numel() if isinstance(module, nn.Conv2d) else 1
            counted += module.weight.numel() * places

    model = build_model(name, 10, (3, 32, 32))
    for module in model.modules():
        module.register_forward_hook(count)
    model(torch.zeros(1, 3, 32, 32))
    assert counted == pytest.approx(multiplications, rel=0.02)


@pytest.mark.parametrize(("normalised", "expected"), [("narrow_cnn_bn", True), ("narrow_cnn", False)])
def test_only_batchnorm_makes_a_sample_depend_on_its_micro_batch(normalised: str, expected: bool) -> None:
    torch.manual_seed(0)
    model, images = build_model(normalised, 10, (3, 16, 16)).train(), torch.randn(8, 3, 16, 16)
    whole, half = model(images)[:4], model(images[:4])
    assert torch.allclose(whole, half, atol=1e-5) != expected


def test_larger_images_are_seen_whole() -> None:
    """A change in the last corner changes what the networks say."""
    for name in ("cifar_alexnet", "cifar_vgg19_bn"):
        torch.manual_seed(0)
        model = build_model(name, 10, (3, 64, 64)).eval()
        images = torch.zeros(2, 3, 64, 64)
        images[1, :, -16:, -16:] = 1
        first, second = model(images)
        assert not torch.equal(first, second), name


def data_of(shape: tuple[int, int, int]) -> TaskData:
    images = TensorDataset(torch.zeros(2, *shape), torch.tensor([0, 1]))
    prepare = Prepare((0.5,) * shape[0], (0.2,) * shape[0])
    return TaskData(
        train=images,
        test=images,
        augment=NoAugmentation(prepare),
        prepare=prepare,
        sample_shape=shape,
        n_classes=2,
    )


@pytest.mark.parametrize(
    ("name", "side"),
    [("cifar_alexnet", 28), ("cifar_vgg19_bn", 31), ("narrow_cnn", 3), ("narrow_cnn_bn", 3), ("alexnet", 32)],
)
def test_images_that_are_too_small_are_refused_in_one_line(name: str, side: int) -> None:
    recipe, _, _ = parse_recipe("train", [RECIPE, "--model", name])
    build_for_recipe(recipe, data_of((3, 64, 64)), torch.device("cpu"))
    with pytest.raises(
        InputError, match=rf"^model: given {name} .*; allowed: one that takes samples of 3x{side}x{side}"
    ):
        build_for_recipe(recipe, data_of((3, side, side)), torch.device("cpu"))


SIZES = {"inception_v3": 299}  # of ImageNet's images; 224 else
TOO_SMALL = {"alexnet": "Output size is too small", "inception_v3": "Kernel size", "maxvit_t": "partition size 7"}


@pytest.mark.parametrize(
    "name",
    [
        *("alexnet", "convnext_tiny", "efficientnet_b0", "googlenet", "inception_v3", "maxvit_t", "mobilenet_v3_small"),
        *("shufflenet_v2_x0_5", "squeezenet1_0", "vgg11_bn", "vit_b_16"),
    ],
)
@pytest.mark.parametrize("own_size", [True, False])
def test_torchvisions_networks_train_or_are_refused_in_one_line(name: str, own_size: bool) -> None:
    """One of each kind, without numbers. Bug stories: tuples in training, asserts of sizes, ValueErrors of others."""
    side = SIZES.get(name, 224) if own_size else 32
    recipe, _, _ = parse_recipe("train", [RECIPE, "--model", name])
    data, meta = data_of((3, side, side)), torch.device("meta")
    with meta:
        if not own_size and name in TOO_SMALL:
            with pytest.raises(
                InputError, match=rf"^model: given {name} \(.*{TOO_SMALL[name]}.*takes samples of 3x32x32$"
            ):
                build_for_recipe(recipe, data, meta)
            return
        model = build_for_recipe(recipe, data, meta).train()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        for _ in range(2):
            inputs, targets = (field.to(meta) for field in data.example(3))
            recipe.task.loss(model(inputs), targets).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_a_look_at_a_network_leaves_its_running_statistics() -> None:
    recipe, _, _ = parse_recipe("train", [RECIPE, "--model=googlenet"])
    model = build_for_recipe(recipe, data_of((3, 32, 32)), torch.device("cpu"))
    means = [buffer for name, buffer in model.named_buffers() if name.endswith("running_mean")]
    assert all(mean.eq(0).all() for mean in means)
    model.train()(torch.randn(4, 3, 32, 32))
    assert all(mean.ne(0).any() for mean in means)


def test_torchvisions_networks_take_colours_only() -> None:
    with pytest.raises(InputError, match=r"cifar_alexnet, .* for images of 1 channel"):
        build_model("resnet18", 10, (1, 32, 32))


@pytest.mark.parametrize(("given", "near"), [("resnt50", "resnet50"), ("cifar_vgg", "cifar_vgg19_bn")])
def test_an_unknown_network_gets_the_nearest_name(given: str, near: str) -> None:
    with pytest.raises(InputError, match=f"--model {near}$"):
        build_model(given, 10, (3, 32, 32))
