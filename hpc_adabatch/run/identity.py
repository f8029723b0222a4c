"""What makes a run this run, and no other: the recipe that it carries out, or the settings of a script's training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol


class Identity(Protocol):
    """The identity of a run: named in the first line of the journal, kept in checkpoints, and compared with theirs."""

    @property
    def named(self) -> Mapping[str, Any]:
        """Returns name, task, policy, optimizer and model."""

    @property
    def saved(self) -> Mapping[str, Any]:
        """Returns what a checkpoint keeps."""

    @property
    def again(self) -> str:
        """Returns the words that go on with the run."""

    def check_same(self, state: Mapping[str, Any]) -> None:
        """Sees that a checkpoint is one of this run.

        Raises:
            InputError: Something differs that must not; the first one is named.
        """

    def planned(self, state: Mapping[str, Any]) -> float:
        """Returns the epochs that the run was to have when a checkpoint was written."""

    def changed(self, state: Mapping[str, Any]) -> Mapping[str, Any]:
        """Returns what differs from a checkpoint: before and now, by name."""

    def told(self, state: Mapping[str, Any]) -> Iterator[str]:
        """Yields a line for each change by which the run is another one from here on."""
