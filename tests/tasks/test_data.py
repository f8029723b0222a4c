"""Digits, image folders, CIFAR: read as they are, and refused in one line when they are not."""

from __future__ import annotations

import hashlib
import io
import pickle
import struct
import tarfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch.utils.data import TensorDataset

from hpc_adabatch.errors import InputError
from hpc_adabatch.tasks import Cifar10, Digits, ImageFolder
from hpc_adabatch.tasks.images import ImageFiles, decode
from hpc_adabatch.tasks.vision import datasets


def folder(root: Path, size: tuple[int, int] = (8, 8)) -> Path:
    """Real digits as PNG files, 3 classes, 5 to train on and 2 to test each."""
    digits = load_digits()
    for name in range(3):
        images = digits.images[digits.target == name]
        for part, chosen in (("train", images[:5]), ("val", images[5:7])):
            (root / part / str(name)).mkdir(parents=True)
            for index, pixels in enumerate(chosen):
                image = Image.fromarray((pixels * 15).astype(np.uint8)).resize(size)
                image.save(root / part / str(name) / f"{index}.png")
    return root


def test_digits_are_split_once_and_for_all() -> None:
    data = Digits().load()
    again = Digits(augment=True).load()
    assert (len(data.train), len(data.test)) == (1437, 360)  # type: ignore[arg-type]
    assert torch.equal(data.test.tensors[0], again.test.tensors[0])  # type: ignore[attr-defined]
    everything = torch.cat([data.train.tensors[0], data.test.tensors[0]]).flatten(1)  # type: ignore[attr-defined]
    assert sorted(everything.sum(1).tolist()) == sorted((load_digits().data.astype(np.float32) / 16).sum(1).tolist())
    prepared = data.prepare(everything.view(-1, 1, 8, 8))
    assert prepared.mean().abs() < 0.01
    assert (prepared.std() - 1).abs() < 0.01


def test_a_run_is_tested_on_val_where_there_is_test_too_and_says_so(tmp_path: Path) -> None:
    """ImageNet as it is unpacked has train/, val/ and a flat test/; settings were chosen on the test set."""
    root = folder(tmp_path)
    assert ImageFolder(root=str(root)).load().told == ""
    (root / "test").mkdir()
    data = ImageFolder(root=str(root)).load()
    assert len(data.test) == 6  # type: ignore[arg-type]
    assert data.told == f"{root} has val/ and test/: val/ is what the run is tested on"
    (root / "val").rename(root / "elsewhere")
    (root / "test").rmdir()
    (root / "elsewhere").rename(root / "test")
    assert len(ImageFolder(root=str(root)).load().test) == 6  # type: ignore[arg-type]


def test_files_that_are_not_named_as_images_are_told_and_class_folders_that_differ_are_named(tmp_path: Path) -> None:
    """torchvision passes over them without a word: half of a class may be missing."""
    root = folder(tmp_path)
    for name in ("a.gif", "b.jp2", ".DS_Store"):
        (root / "train" / "1" / name).write_bytes(b"")
    told = ImageFolder(root=str(root)).load().told
    assert told == f"2 file(s) not named as images are not read, such as {root}/train/1/a.gif"
    (root / "val" / "2").rename(root / "val" / "two")
    with pytest.raises(InputError, match=rf"^task\.root: given {root}: 2, two in one of two; allowed: the same class"):
        ImageFolder(root=str(root)).load()


GREY = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1040  # of 16 bits, 0 to 65,520


def tiff(path: Path, bits: int, values: bytes, *, photometric: int = 1, sample_format: int = 1) -> Path:
    """A grey image of 8x8, as Pillow does not write them."""
    tags = {256: 8, 257: 8, 258: bits, 259: 1, 262: photometric, 277: 1, 278: 8, 279: len(values)}
    tags |= {273: 10 + 12 * 10 + 4, 339: sample_format}
    entries = b"".join(struct.pack("<HHIHH", tag, 3, 1, tags[tag], 0) for tag in sorted(tags))
    path.write_bytes(b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + values)
    return path


def twelve_bits(values: np.ndarray) -> bytes:
    """Two values in three bytes."""
    return b"".join((int(a) << 12 | int(b)).to_bytes(3, "big") for a, b in values.reshape(-1, 2))


@pytest.mark.parametrize(
    "name", ["a.png", "a.tif", "big-endian.tif", "12 bits.tif", "a.ppm", "eight.png", "alpha.png", "palette.png"]
)
def test_grey_of_any_depth_is_the_grey_that_it_is(name: str, tmp_path: Path) -> None:
    """Pillow alone makes white of all that is above 255 of 65,535, and leaves 12 bits dark."""
    path, eight = tmp_path / name, np.round(GREY / 257).astype(np.uint8)
    if name in ("eight.png", "alpha.png", "palette.png"):
        image = Image.fromarray(eight)
        {"e": image, "a": image.convert("LA"), "p": image.convert("P")}[name[0]].save(path)
    elif name == "a.ppm":
        path.write_bytes(b"P5 8 8 65535\n" + GREY.astype(">u2").tobytes())
    elif name == "12 bits.tif":
        tiff(path, 12, twelve_bits(GREY >> 4))
    else:
        Image.fromarray(GREY.astype(">u2" if name.startswith("big") else "<u2")).save(path)
    found = decode(path, 8)
    assert found.shape == (8, 8, 3)
    assert np.abs(found.astype(int) - eight[:, :, None]).max() <= (3 if name[:2] in ("pa", "12") else 0)


@pytest.mark.parametrize(
    ("bits", "kind", "photometric", "sample_format", "fault"),
    [
        (32, "<f4", 1, 3, "floating point"),
        (32, "<u4", 1, 1, "more than 16 bits"),  # 0 to 63 would all be black
        (16, "<i2", 1, 2, "signed"),
        (8, "i1", 1, 2, "signed"),
        (16, "<u2", 0, 1, "16 bits of which 0 is white"),  # Pillow makes black of it
    ],
)
def test_an_image_whose_white_is_unknown_is_refused_in_one_line(
    bits: int, kind: str, photometric: int, sample_format: int, fault: str, tmp_path: Path
) -> None:
    values = np.arange(64).astype(kind).tobytes()
    path = tiff(tmp_path / "a.tif", bits, values, photometric=photometric, sample_format=sample_format)
    with pytest.raises(InputError, match=rf"^task\.root: given .*a\.tif \({fault}\); allowed: 8 or 16 bits"):
        decode(path, 8)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ["alpha.png", "palette.png", "palette.gif", "cmyk.jpg", "turned.png", "pages.tif"])
def test_other_images_are_as_torchvision_reads_them(name: str, tmp_path: Path) -> None:
    """Transparency and a camera's note of its orientation are left aside, and of pages the first is read."""
    path, kind = tmp_path / name, name.partition(".")[0]
    grey = Image.fromarray(np.arange(0, 256, 4, dtype=np.uint8).reshape(8, 8))
    colours = Image.merge("RGB", (grey, grey.rotate(90), grey.rotate(180)))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    image = {"alpha": Image.merge("LA", (grey, grey)), "palette": colours.quantize(16), "cmyk": colours.convert("CMYK")}
    options: dict[str, Any] = {
        "palette": {"transparency": bytes(range(16)) if name == "palette.png" else 3},
        "turned": {"exif": exif},
        "pages": {"save_all": True, "append_images": [grey.rotate(90)]},
    }
    image.get(kind, grey).save(path, **options.get(kind, {}))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Pillow, for transparency
        expected = datasets.folder.pil_loader(str(path))
    assert np.array_equal(decode(path, 8), np.asarray(expected))


def test_an_image_folder_is_the_same_in_memory_and_read_one_by_one(tmp_path: Path) -> None:
    root = folder(tmp_path)
    memory = ImageFolder(root=str(root)).load()
    files = ImageFolder(root=str(root), memory_gb=0).load()
    assert isinstance(memory.train, TensorDataset)
    assert isinstance(files.train, ImageFiles)
    assert memory.sample_shape == (3, 8, 8)
    assert memory.n_classes == 3
    images, targets = memory.train.tensors
    assert images.dtype == torch.uint8
    assert len(files.train) == len(images) == 15
    for index in range(15):
        image, target = files.train[index]
        assert torch.equal(image, images[index])
        assert target == targets[index]
    first = np.asarray(Image.open(root / "train" / "0" / "0.png").convert("RGB"))
    assert np.array_equal(images[0].permute(1, 2, 0).numpy(), first)


def test_other_shapes_are_scaled_and_their_middle_is_cut_out(tmp_path: Path) -> None:
    wide = np.zeros((20, 60, 3), dtype=np.uint8)
    wide[:, 20:40] = 200
    Image.fromarray(wide).save(tmp_path / "wide.png")
    assert decode(tmp_path / "wide.png", 20).min() == 200
    assert ImageFolder(root=str(folder(tmp_path / "f", (12, 9))), image_size=6).load().sample_shape == (3, 6, 6)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_jpeg_far_larger_than_what_is_stored_is_decoded_coarsely_and_looks_so(mode: str, tmp_path: Path) -> None:
    """By Pillow alone, from all of the pixels; the middle is the same square."""
    waves = np.sin(np.arange(960)[:, None] / 31) * np.cos(np.arange(1280) / 47 + np.arange(3)[:, None, None])
    Image.fromarray((127.5 + 120 * waves).astype(np.uint8).transpose(1, 2, 0)).convert(mode).save(tmp_path / "a.jpg")
    with Image.open(tmp_path / "a.jpg") as file:
        whole = file.convert("RGB")
    for size, coarse in ((500, False), (321, False), (320, True), (100, True), (33, True)):
        wide = whole.resize((round(1280 * size / 960), size), Image.Resampling.BILINEAR)
        left = (wide.width - size) // 2
        expected = np.asarray(wide.crop((left, 0, left + size, size))).astype(float)
        off = np.abs(decode(tmp_path / "a.jpg", size) - expected)
        assert off.max() <= 3
        assert (np.mean(off > 0) > 0.01) == coarse  # 960 / 2 is 1.5 times 320; few are rounded otherwise


@pytest.mark.parametrize("broken", [b"", b"no image", b"\x89PNG\r\n\x1a\n half"])
def test_what_is_no_image_is_named(broken: bytes, tmp_path: Path) -> None:
    root = folder(tmp_path)
    (root / "train" / "1" / "3.png").write_bytes(broken)
    with pytest.raises(InputError, match=r"train/1/3\.png"):
        ImageFolder(root=str(root)).load()


def test_an_image_too_large_to_be_true_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bug story: Pillow's refusal of decompression bombs is neither an OSError nor a ValueError."""
    root = folder(tmp_path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 31)  # 8x8 are more than twice as many
    with pytest.raises(InputError, match=r"train/0/0\.png"):
        ImageFolder(root=str(root)).load()


def test_files_are_found_by_names_of_any_letters(tmp_path: Path) -> None:
    """Names are kept as bytes, all of the longest one's length."""
    root = folder(tmp_path)
    (root / "train" / "1" / "3.png").rename(root / "train" / "1" / "größer, 三.png")
    memory, files = ImageFolder(root=str(root)).load(), ImageFolder(root=str(root), memory_gb=0).load()
    for index, (image, target) in enumerate(zip(*memory.train.tensors, strict=True)):  # type: ignore[attr-defined]
        assert torch.equal(files.train[index][0], image)
        assert files.train[index][1] == target


@pytest.mark.parametrize(
    ("field", "value"),
    [("image_size", 0), ("padding", -1), ("std", (0.1, 0.2)), ("std", (0.1, 0.2, 0.0)), ("label_smoothing", 1.0)],
)
def test_fields_out_of_range_are_refused(field: str, value: Any) -> None:
    with pytest.raises(InputError, match=rf"^task\.{field}: given"):
        ImageFolder(**{field: value})


PIXELS = np.arange(6 * 3072, dtype=np.int64).reshape(6, 3072).astype(np.uint8)


@pytest.fixture
def cifar(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """torchvision's files by name, made here of few images; its check sums are replaced by theirs."""
    labels = {"data": PIXELS, "labels": [0, 1, 2, 0, 1, 2]}
    files = {"data_batch_1": labels, "test_batch": labels, "batches.meta": {"label_names": ["a", "b", "c"]}}
    contents = {name: pickle.dumps(content) for name, content in files.items()}
    sums = {name: hashlib.md5(content).hexdigest() for name, content in contents.items()}
    for part, name in (("train_list", "data_batch_1"), ("test_list", "test_batch")):
        monkeypatch.setattr(datasets.CIFAR10, part, [[name, sums[name]]])
    meta = {"filename": "batches.meta", "key": "label_names", "md5": sums["batches.meta"]}
    monkeypatch.setattr(datasets.CIFAR10, "meta", meta)
    return contents


def test_cifar_as_torchvision_stores_it(tmp_path: Path, cifar: dict[str, bytes]) -> None:
    (tmp_path / "cifar-10-batches-py").mkdir()
    for name, content in cifar.items():
        (tmp_path / "cifar-10-batches-py" / name).write_bytes(content)
    data = Cifar10(root=str(tmp_path)).load()
    images, targets = data.train.tensors  # type: ignore[attr-defined]
    assert np.array_equal(images.flatten(1).numpy(), PIXELS)
    assert targets.tolist() == [0, 1, 2, 0, 1, 2]
    assert data.n_classes == 3


def test_two_nodes_download_into_one_folder(
    tmp_path: Path, cifar: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One rank of each node wrote into the shared folder, and each could read the half of what the other wrote."""
    task, calls = Cifar10(root=str(tmp_path / "data"), download=True), 0

    def download(self: Any) -> None:
        nonlocal calls
        calls += 1
        if self._check_integrity():
            return
        folder = Path(self.root) / self.base_folder
        folder.mkdir(exist_ok=True)
        for name, content in cifar.items():
            with (folder / name).open("wb") as file:
                file.write(content[:100])
                if calls == 1:
                    task.fetch()  # the other node's, from its beginning to its end
                file.write(content[100:])

    monkeypatch.setattr(datasets.CIFAR10, "download", download)
    task.fetch()
    assert len(task.load().train) == 6  # type: ignore[arg-type]
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["cifar-10-batches-py"]
    task.fetch()
    assert calls == 2


def test_an_archive_copied_by_hand_needs_no_network(
    tmp_path: Path, cifar: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    with tarfile.open(tmp_path / "cifar-10-python.tar.gz", "w:gz") as archive:
        for name, content in cifar.items():
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    found = hashlib.md5((tmp_path / "cifar-10-python.tar.gz").read_bytes()).hexdigest()
    monkeypatch.setattr(datasets.CIFAR10, "tgz_md5", found)
    monkeypatch.setattr(datasets.CIFAR10, "url", "http://127.0.0.1:9/")
    task = Cifar10(root=str(tmp_path), download=True)
    task.fetch()
    assert len(task.load().train) == 6  # type: ignore[arg-type]
    assert {path.name for path in tmp_path.iterdir()} == {"cifar-10-batches-py", "cifar-10-python.tar.gz"}


def test_a_folder_that_cannot_be_written_or_a_network_that_is_not_there_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets.CIFAR10, "url", "http://127.0.0.1:9/")
    (tmp_path / "file").write_text("", encoding="utf-8")
    for root in (tmp_path / "data", tmp_path / "file"):
        with pytest.raises(InputError, match=r"^task.download: given"):
            Cifar10(root=str(root), download=True).fetch()
    assert list((tmp_path / "data").iterdir()) == []


def test_missing_cifar_says_how_to_fetch_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="download"):
        Cifar10(root=str(tmp_path)).load()
