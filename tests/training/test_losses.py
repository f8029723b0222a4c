"""Means of training losses."""

from __future__ import annotations

import json
import math

from hpc_adabatch.training.losses import Losses


def test_means_are_over_samples_not_over_steps() -> None:
    losses = Losses()
    assert math.isnan(losses.take_recent())
    losses.add(8.0, 4)
    losses.add(1.0, 1)
    assert losses.take_recent() == 9.0 / 5
    losses.add(3.0, 1)
    assert losses.take_recent() == 3.0
    assert losses.last_epoch is None
    losses.end_epoch()
    assert losses.last_epoch == 12.0 / 6
    losses.end_epoch()
    assert losses.last_epoch is None  # all of its steps were skipped


def test_a_restart_goes_on_with_the_sums() -> None:
    straight, resumed = Losses(), Losses()
    straight.add(8.0, 4)
    straight.end_epoch()
    straight.add(1.0, 1)
    resumed.load_state_dict(json.loads(json.dumps(straight.state_dict())))
    for losses in (straight, resumed):
        losses.add(2.0, 2)
        assert (losses.take_recent(), losses.last_epoch) == (11.0 / 7, 2.0)
        losses.end_epoch()
        assert losses.last_epoch == 1.0
