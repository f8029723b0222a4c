"""The arms that other packages run, each as its documentation says, in processes without Horovod and without ours.

Every rank is a process of srun; sums go over Gloo. What had to be repaired:

    adaptdl    pkg_resources left setuptools with 82 and `requests` is no requirement of it: both stand in peers.txt;
               `np.int` left NumPy with 1.24: it is int here; its model of step times is refitted after 5 s instead of
               30, as runs take minutes; evaluations, which interrupt its loop, are taken out of its step times; each
               rank takes its share in one pass, for 0.2.11 steps along the sum over accumulated passes, not the mean
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from rank import Watch
from setting import LR_FACTOR, STAGES, Run, network
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import fp16_compress_hook
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader
from torch_rank import Images, Order, accuracy, as_it_is, join, rank, ranks, set_rate, sgd

REFIT_S = 5.0


def train(run: Run, folder: Path, result: Path) -> None:
    """Trains once, on all ranks; rank 0 writes the result."""
    model = network(run.network, run.seed)
    watch = Watch(run.samples, lambda: accuracy(model, folder), result if rank() == 0 else None)
    ARMS[run.arm](run, folder, model, watch)
    watch.end()
    dist.destroy_process_group()


def by_hand(
    run: Run,
    folder: Path,
    model: nn.Module,
    watch: Watch,
    batch_at: Callable[[int], int],
    rate_at: Callable[[float], float],
) -> None:
    """Trains in a loop of torch's DistributedDataParallel.

    Args:
        run: The run.
        folder: Where the images are stored.
        model: The network.
        watch: The clock.
        batch_at: Returns the global batch of an epoch.
        rate_at: Returns the factor of the rate, as a function of the epochs done.
    """
    join()
    wrapped, images, optimizer = DistributedDataParallel(model), Images(run, folder), sgd(run, model)
    watch.begin()
    for epoch in range(round(run.epochs)):
        batch, done = batch_at(epoch), 0
        for share in run.order(epoch)[rank() :: ranks()].split(batch // ranks()):
            set_rate(optimizer, run.rate * rate_at(epoch + done / run.samples))
            optimizer.zero_grad()
            passes = share.split(run.batch)  # a rank's largest pass, as that of ours
            for number, chosen in enumerate(passes, 1):
                inputs, labels = images.__getitems__(chosen)
                with nullcontext() if number == len(passes) else wrapped.no_sync():
                    (cross_entropy(wrapped(inputs), labels) * len(chosen) / len(share)).backward()
            optimizer.step()
            done += ranks() * len(share)
            watch.update(ranks() * len(share), batch)


def small(run: Run, folder: Path, model: nn.Module, watch: Watch) -> None:
    """torch DDP: the small batch throughout, step decay."""
    by_hand(run, folder, model, watch, lambda _: run.batch, run.decay)


def large(run: Run, folder: Path, model: nn.Module, watch: Watch) -> None:
    """torch DDP: the largest batch throughout, its rate tuned on the first seed; a tenth of warm-up, step decay."""

    def rate(epoch: float) -> float:
        start = run.largest / run.samples  # the first update is no empty one
        return run.factor * min(1.0, (epoch + start) / (run.epochs / 10)) * run.decay(epoch)

    by_hand(run, folder, model, watch, lambda _: run.largest, rate)


def adabatch_ddp(run: Run, folder: Path, model: nn.Module, watch: Watch) -> None:
    """torch DDP with AdaBatch by hand: the batch doubles after each fifth of the epochs, the rate x0.75."""

    def rate(epoch: float) -> float:
        return LR_FACTOR ** run.stage(int(epoch))

    by_hand(run, folder, model, watch, lambda epoch: run.batch * 2 ** run.stage(epoch), rate)


def fairscale_fp16(run: Run, folder: Path, model: nn.Module, watch: Watch) -> None:
    """The same with torch's hook for sums in fp16, of which fairscale's documentation says nothing."""
    fairscale(run, folder, model, watch, fp16=True)


def fairscale(run: Run, folder: Path, model: nn.Module, watch: Watch, *, fp16: bool = False) -> None:
    """fairscale's AdaScale: the small batch on every rank, so scale 4; step decay by its count of steps."""
    from fairscale.optim import AdaScale

    join()
    wrapped, images, optimizer = DistributedDataParallel(model), Images(run, folder), AdaScale(sgd(run, model))
    if fp16:
        wrapped.register_comm_hook(None, fp16_compress_hook)
    progress, per_epoch, epoch = 0.0, run.samples / run.batch, 0
    watch.begin()
    while progress < run.epochs * per_epoch:
        for share in run.order(epoch)[rank() :: ranks()].split(run.batch):
            set_rate(optimizer, run.rate * run.decay(progress / per_epoch))
            inputs, labels = images.__getitems__(share)
            optimizer.zero_grad()
            cross_entropy(wrapped(inputs), labels).backward()
            progress += optimizer.gain()
            optimizer.step()
            watch.update(ranks() * len(share), ranks() * run.batch)
            if progress >= run.epochs * per_epoch:
                break
        epoch += 1


def adaptdl_fp16(run: Run, folder: Path, model: nn.Module, watch: Watch) -> None:
    """The same with torch's hook for sums in fp16, of which AdaptDL's documentation says nothing."""
    adaptdl(run, folder, model, watch, fp16=True)


def adaptdl(run: Run, folder: Path, model: nn.Module, watch: Watch, *, fp16: bool = False) -> None:
    """AdaptDL: batches of most goodput from the small to the largest one, AdaScale, step decay by its epochs."""
    np.int = int  # type: ignore[attr-defined]
    warnings.filterwarnings("ignore", message="pkg_resources is deprecated")
    os.environ |= {
        "ADAPTDL_MASTER_ADDR": os.environ["MASTER_ADDR"],
        "ADAPTDL_MASTER_PORT": os.environ["MASTER_PORT"],
        "ADAPTDL_REPLICA_RANK": str(rank()),
        "ADAPTDL_NUM_REPLICAS": str(ranks()),
    }
    import adaptdl.torch as adl
    from adaptdl.torch import _metrics as metrics

    adl.init_process_group("gloo")
    images = Images(run, folder, first=run.order(0))  # its own order knows no seed
    loader = adl.AdaptiveDataLoader(images, batch_size=run.batch, shuffle=True, collate_fn=as_it_is)
    loader.autoscale_batch_size(run.largest, local_bsz_bounds=(run.batch // ranks(), run.largest // ranks()))
    optimizer = sgd(run, model)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, run.decay)
    wrapped = adl.AdaptiveDataParallel(model, optimizer, schedule)
    if fp16:
        wrapped.register_comm_hook(None, fp16_compress_hook)
    watch.begin()
    for _ in adl.remaining_epochs_until(round(run.epochs)):
        for inputs, labels in loader:
            optimizer.zero_grad()
            cross_entropy(wrapped(inputs), labels).backward()
            optimizer.step()
            stood_s = watch.update(ranks() * len(labels), loader.current_batch_size)
            metrics._metrics_state().step_start += stood_s
            if metrics._PREV_REPORT is not None and time.time() - metrics._PREV_REPORT > REFIT_S:
                metrics._PREV_REPORT = 0.0  # long ago: refits when this step ends
        schedule.step()


def lightning(run: Run, folder: Path, model: nn.Module, watch: Watch) -> None:
    """Lightning's GradientAccumulationScheduler: twice the passes after each fifth of the epochs, the rate x0.75."""
    from lightning import pytorch as pl
    from lightning.pytorch.callbacks import Callback, GradientAccumulationScheduler

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def training_step(self, batch: Any, _: int) -> torch.Tensor:
            return cross_entropy(self.model(batch[0]), batch[1])

        def configure_optimizers(self) -> Any:
            optimizer = sgd(run, self.model)
            schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: LR_FACTOR ** run.stage(epoch))
            return [optimizer], [schedule]

    class Clock(Callback):
        def on_train_start(self, *_: Any) -> None:
            self.updates = self.samples = 0
            watch.begin()

        def on_train_batch_end(self, trainer: Any, _: Any, __: Any, batch: Any, ___: int) -> None:
            self.samples += ranks() * len(batch[1])
            if trainer.global_step > self.updates:
                watch.update(self.samples, run.batch * trainer.accumulate_grad_batches)
                self.updates, self.samples = trainer.global_step, 0

    passes = {round(number * run.epochs / STAGES): 2**number for number in range(STAGES)}
    local = run.batch // ranks()
    loader = DataLoader(Images(run, folder), local, sampler=Order(run), collate_fn=as_it_is)
    trainer = pl.Trainer(
        **{
            "accelerator": "cpu",
            "devices": 1,
            "num_nodes": ranks(),
            "strategy": "ddp",
            "use_distributed_sampler": False,
        },
        **{"max_epochs": round(run.epochs), "callbacks": [GradientAccumulationScheduler(passes), Clock()]},
        **{"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False},
    )
    trainer.fit(Module(), loader)


ARMS: dict[str, Callable[[Run, Path, nn.Module, Watch], None]] = {
    arm.__name__: arm
    for arm in (small, large, adabatch_ddp, fairscale, fairscale_fp16, adaptdl, adaptdl_fp16, lightning)
}
