"""The node count that a batch is worth, and whether going there pays.

    letter    here             meaning                                                               unit
    T(N, B)   machine.step_s   a step of global batch B on N nodes (plan_nodes.py)                   s
    e(N, B)   efficiency       n T(n, B) / (N T(N, B)), n the fewest nodes of the range              1
    S         samples          that the run has still to train on
    W         wait_s           in the queue, until a job on other nodes starts                       s

    worth     of n, 2 n, 4 n, ... the most nodes with e(N, B) of at least the efficiency that is asked for
    more      where the batch is worth more nodes, and they save    S/B (T(now) - T(then))  >  2 W
    fewer     where not even twice the batch is worth as many, and they save node-seconds, those of waiting set against
              them:                         S/B (now T(now) - then T(then))  >  2 W now

S/B are the steps that are left if the batch stays; where it grows on, more nodes save more. Twice W is the margin, and
twice the batch keeps one that goes up and down from taking the nodes with it.

Not here: being asked for another node count, and leaving (run/follow.py).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ...errors import InputError, require
from .plan_nodes import Machine

MARGIN = 2.0
"""The times by which a saving exceeds the wait for it."""

HINT = "--nodes_follow 1:32"


@dataclass(frozen=True, kw_only=True)
class NodeRange:
    """The node counts that a run may have."""

    least: int
    """The fewest nodes."""
    most: int
    """The most nodes."""

    def __str__(self) -> str:
        return f"{self.least}:{self.most}"

    @property
    def counts(self) -> tuple[int, ...]:
        """Returns the fewest nodes and their doublings within the range, and the most."""
        doubled = [self.least << power for power in range((self.most // self.least).bit_length())]
        return (*doubled, *([self.most] if doubled[-1] < self.most else []))


def span_of(nodes: Sequence[int]) -> NodeRange:
    """Returns the range from the fewest of some node counts to the most of them."""
    return NodeRange(least=min(nodes), most=max(nodes))


def node_range(text: str) -> NodeRange:
    """Reads a range of node counts: ``1:32``.

    Raises:
        InputError: The text is none, or the range holds one count alone.
    """
    allowed = "two whole numbers with a colon, the fewest nodes and the most: 1 or more, and more than that"
    found = re.fullmatch(r"([0-9]{1,6}):([0-9]{1,6})", text)
    least, most = (int(found[1]), int(found[2])) if found is not None else (0, 0)
    require(1 <= least < most, "nodes_follow", text or "nothing", allowed, HINT)
    return NodeRange(least=least, most=most)


def check_terms(efficiency: float, wait_s: float | None) -> None:
    """Sees that an efficiency and a time in the queue can be used.

    Args:
        efficiency: The least efficiency of a node.
        wait_s: The seconds in the queue; None where the queue shall say.

    Raises:
        InputError: One of them cannot.
    """
    require(0 < efficiency <= 1, "efficiency", efficiency, "more than 0, 1 at most", "--efficiency 0.75")
    require(wait_s is None or 0 <= wait_s < math.inf, "wait_s", wait_s, "0 s or more", "--wait_s 600")


@dataclass(frozen=True, kw_only=True)
class Following:
    """A rule by which the node count of a run follows its batch."""

    machine: Machine
    """The nodes and their network."""
    range: NodeRange
    """The node counts."""
    efficiency: float
    """The least efficiency of a node, against one of the fewest nodes with the same batch."""
    wait_s: float
    """The seconds in the queue until a job on other nodes starts."""

    def __post_init__(self) -> None:
        check_terms(self.efficiency, self.wait_s)

    def worth(self, global_batch: int) -> int:
        """Returns the most nodes whose efficiency with this batch is high enough, each rank with a sample at least."""
        first, per_node = self.range.least, self.machine.network.ranks_per_node
        alone_s = first * self.machine.step_s(first, global_batch)

        def fits(nodes: int) -> bool:
            has_samples = nodes * per_node <= global_batch
            return has_samples and alone_s >= self.efficiency * nodes * self.machine.step_s(nodes, global_batch)

        return max((nodes for nodes in self.range.counts if fits(nodes)), default=first)

    def next_nodes(self, nodes: int, global_batch: int, samples: float) -> int:
        """Returns the node count to go on with; the present one where moving does not pay.

        Args:
            nodes: The present node count.
            global_batch: The samples of a step from here on.
            samples: The samples that the run has still to train on.
        """
        most, steps = self.worth(global_batch), samples / global_batch
        if most > nodes:
            saved_s = steps * (self.machine.step_s(nodes, global_batch) - self.machine.step_s(most, global_batch))
            return most if saved_s > MARGIN * self.wait_s else nodes
        if self.worth(2 * global_batch) < nodes:
            now_s, then_s = (count * self.machine.step_s(count, global_batch) for count in (nodes, most))
            return most if steps * (now_s - then_s) > MARGIN * self.wait_s * nodes else nodes
        return nodes


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A stretch of training with one global batch."""

    epoch: float
    """The epoch in which it begins."""
    global_batch: int
    """The samples of a step."""
    steps: int
    """Its steps."""
    samples: int
    """Its samples."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """A stage on the nodes that it gets."""

    stage: Stage
    """The stage."""
    nodes: int
    """The node count."""
    seconds: float
    """The seconds of its steps."""
    waited_s: float
    """The seconds in the queue before it."""

    @property
    def node_hours(self) -> float:
        """Returns the hours of its nodes together; waiting costs none."""
        return self.nodes * self.seconds / 3600


def followed(rule: Following, stages: Sequence[Stage]) -> list[Part]:
    """Returns each stage with its nodes: what the first one's batch is worth, then as the run decides.

    Args:
        rule: The rule.
        stages: The stages of the run, in order.
    """
    parts: list[Part] = []
    left, nodes = float(sum(stage.samples for stage in stages)), rule.worth(stages[0].global_batch)
    for stage in stages:
        before = nodes
        if parts:
            nodes = rule.next_nodes(nodes, stage.global_batch, left)
        parts.append(_part(rule, stage, nodes, rule.wait_s if nodes != before else 0.0))
        left -= stage.samples
    return parts


def fixed(rule: Following, stages: Sequence[Stage], nodes: int) -> list[Part]:
    """Returns the stages on one node count throughout; none where a batch has fewer samples than there are ranks."""
    ranks = nodes * rule.machine.network.ranks_per_node
    if min(stage.global_batch for stage in stages) < ranks:
        return []
    return [_part(rule, stage, nodes, 0.0) for stage in stages]


def _part(rule: Following, stage: Stage, nodes: int, waited_s: float) -> Part:
    seconds = stage.steps * rule.machine.step_s(nodes, stage.global_batch)
    return Part(stage=stage, nodes=nodes, seconds=seconds, waited_s=waited_s)


def check_changes(batches: Sequence[int], given: object) -> None:
    """Sees that a run has more than one batch.

    Args:
        batches: The batches of its stages.
        given: The range of node counts, for the message.

    Raises:
        InputError: It has one alone.
    """
    if len(set(batches)) < 2:
        told = f"{given} with a batch that is {batches[0]} throughout"
        raise InputError("nodes_follow", told, "a rule that changes the batch", "--policy adabatch")
