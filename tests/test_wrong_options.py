"""Whatever a script gives to a public constructor that cannot be used is answered by one line that names the option."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

import hpc_adabatch as hab

NUMBER: list[Any] = [-1, math.nan, math.inf, "word", [1], True]
COUNT = [*NUMBER, 0.5]
FLAG: list[Any] = [1, 0.0, "word", None]
WORD: list[Any] = ["word", 1, None, ["none"], True]
MILESTONES: list[Any] = [1, math.nan, "word", None, [2, 1], [1, 1], [math.nan], ["1"], [True]]
MEASURED = {
    "window": COUNT,
    "dwell": [*COUNT, 0, None],
    "growth": [*NUMBER, 1],
    "tolerance": [*NUMBER, 1],
    "shrink": FLAG,
    "lower_lr": FLAG,
}
LAYERWISE = {"lr": NUMBER, "weight_decay": NUMBER, "eps": NUMBER, "adapt": FLAG}
SEARCH = {"alpha": [*NUMBER, 0, None], "decrease": [*NUMBER, 0, 0.6], "rise": [*NUMBER, 0.5]}

MODEL = torch.nn.Linear(2, 1)
DATA = TensorDataset(torch.zeros(20, 2), torch.zeros(20))
CONSTRUCTORS: dict[Callable[..., Any], tuple[dict[str, Any], dict[str, list[Any]]]] = {  # good options, wrong ones
    hab.AdaBatch: (
        {},
        {
            "factor": [*NUMBER, 0.5],
            "interval": [*NUMBER, 0],
            "lr_factor": [*NUMBER, 0],
            "warmup_epochs": [*COUNT, 1, 21],
            "baseline_batch": [*COUNT, 0, 128],
        },
    ),
    hab.BigBatch: ({}, {"theta": [*NUMBER, 0], "growth": [*NUMBER, 0, 2], "pieces": [*COUNT, 0], "signal": WORD}),
    hab.Cabs: ({}, {**MEASURED, "constant": [*NUMBER, 0], "infimum": NUMBER}),
    hab.Goodput: ({}, {**MEASURED, "power": [*NUMBER, 1.1]}),
    hab.InnerProduct: ({}, {**MEASURED, "theta": [*NUMBER, 0], "nu": [*NUMBER, 0], "signal": WORD}),
    hab.NoiseScale: ({}, {**MEASURED, "fraction": [*NUMBER, 0]}),
    hab.NormTest: ({}, {**MEASURED, "theta": [*NUMBER, 0], "signal": WORD}),
    hab.Plateau: ({}, {"factor": [*NUMBER, 1], "patience": [*COUNT, 0], "threshold": [*NUMBER, 1]}),
    hab.Replay: ({}, {"journal": ["none.jsonl", 1, None, [1]]}),
    hab.Schedule: ({}, {"text": ["word", "", "1ep:5", "0:5 9:7", "0:0", 1, None, [1]]}),
    hab.Seesaw: ({"milestones": (1,)}, {"milestones": [*MILESTONES, (), (0,)], "decay": [*NUMBER, 0, 1]}),
    hab.SimiGrad: ({}, {**MEASURED, "similarity": [*NUMBER, 0, 1]}),
    hab.Smith: ({"milestones": (1,)}, {"milestones": [*MILESTONES, (), (0,)], "decay": [*NUMBER, 0, 1]}),
    hab.LearningRate: (
        {},
        {
            "scaling": WORD,
            "warmup": WORD,
            "warmup_epochs": [*NUMBER, 1],
            "warmup_start": [*NUMBER, 2],
            "decay": WORD,
            "milestones": [*MILESTONES, (1,)],
            "gamma": [*NUMBER, 0],
            "power": [*NUMBER, 0],
            "final": [*NUMBER, 2],
            "epochs": [*NUMBER, 0],
            "reference_batch": [*COUNT, 0],
            "weight_decay": WORD,
            "clock": ["word", 1, ["none"], True, "scale_invariant"],
            "decay_start": [*NUMBER, 1],
        },
    ),
    hab.LearningRate.from_preset: ({}, {"preset": WORD}),
    hab.LARS: (
        {"params": list(MODEL.parameters())},
        {
            **LAYERWISE,
            "momentum": [*NUMBER, 1],
            "trust_coefficient": NUMBER,
            "momentum_correction": FLAG,
            "nesterov": FLAG,
        },
    ),
    hab.LAMB: (
        {"params": list(MODEL.parameters())},
        {
            **LAYERWISE,
            "betas": [0.9, None, "word", (0.9,), (0.9, 1), (0.9, "word"), (math.nan, 0.9)],
            "bias_correction": FLAG,
            "max_trust_ratio": NUMBER,
        },
    ),
    hab.Armijo: ({"alpha": 1.0}, SEARCH),
    hab.BarzilaiBorwein: ({"alpha": 1.0}, SEARCH),
    hab.AdaptiveBatches: (
        {"dataset": DATA, "global_batch": 4},
        {
            "dataset": [1, None, math.nan, TensorDataset(torch.zeros(0))],
            "global_batch": [*COUNT, 0, 21, None],
            "max_global_batch": [*COUNT, 3],
            "min_global_batch": [*COUNT, 0, 5],
            "max_micro_batch": [*COUNT, 0],
            "seed": [*COUNT, None],
            "workers": [*COUNT, None],
            "transform": [1, "word"],
            "collate": [1, "word"],
            "weights": [1, "word", [1.0], [0.0] * 20, [1.0] * 19 + [math.nan]],
            "samples_per_epoch": [*COUNT, 0, 20],
        },
    ),
    hab.parameter_groups: (
        {"model": MODEL, "weight_decay": 0.1},
        {"model": [1, "word", None], "weight_decay": [*NUMBER, None]},
    ),
}


def answer(make: Callable[..., Any], options: dict[str, Any]) -> str:
    try:
        make(**options)
    except hab.InputError as error:
        return str(error)
    return "taken"


@pytest.mark.parametrize("make", CONSTRUCTORS, ids=lambda make: make.__name__)
def test_a_wrong_option_is_answered_by_one_line_that_names_it(make: Callable[..., Any]) -> None:
    good, wrong = CONSTRUCTORS[make]
    for option, values in wrong.items():
        named = "dataset|training set" if option == "dataset" else option
        for value in values:
            line = answer(make, {**good, option: value})
            assert re.match(rf"[^:\n]*({named})[^:\n]*: given [^\n]*; allowed: [^\n]+$", line), f"{value!r}: {line}"


def test_numbers_of_numpy_are_taken() -> None:
    hab.NoiseScale(window=np.int64(100), growth=np.float32(2))
    hab.LearningRate("sqrt", reference_batch=np.int32(256), warmup="fixed", warmup_epochs=np.float64(5))
    hab.LARS(MODEL.parameters(), lr=np.float32(0.5))
    assert hab.AdaptiveBatches(DATA, np.int64(4), seed=np.int64(1)).global_batch == 4
