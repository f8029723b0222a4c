"""The words of verbs that read no recipe: flags with a value, without one, and with one that might be a word."""

from __future__ import annotations

import pytest

from hpc_adabatch.errors import InputError
from hpc_adabatch.verb_flags import ExportFlags
from hpc_adabatch.verb_words import Word, read

RUNS = Word("RUN", "The folders of the runs.", many=True)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["a", "--tensorboard"], True),
        (["a", "--tensorboard=true"], True),
        (["a", "--tensorboard", "true"], True),  # as usage and pages have it: it was "a field that does not exist"
        (["--tensorboard", "true", "a"], True),
        (["--tensorboard", "a"], True),
        (["a", "--tensorboard", "false"], False),
    ],
)
def test_a_flag_of_yes_or_no_takes_true_and_false_and_no_other_word(words: list[str], found: bool) -> None:
    folders, given = read("export", words, ExportFlags, RUNS)
    assert (folders, given["tensorboard"]) == (["a"], found)


def test_a_flag_without_its_value_is_told() -> None:
    with pytest.raises(InputError, match="to: given nothing; allowed: a value; type --to VALUE"):
        read("export", ["a", "--to"], ExportFlags, RUNS)
