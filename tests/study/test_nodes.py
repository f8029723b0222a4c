"""Node counts as people type them."""

from __future__ import annotations

import pytest

from hpc_adabatch.errors import InputError
from hpc_adabatch.study.nodes import node_counts


def test_counts_stay_in_the_order_given_and_dots_double() -> None:
    assert node_counts("8, 1,2") == (8, 1, 2)  # --zip gives each its value
    assert node_counts("1,2,4,...,16") == (1, 2, 4, 8, 16)
    assert node_counts("3,...,20") == (3, 6, 12, 20)
    assert node_counts("1,2,4,...,4096") == tuple(2**power for power in range(13))


@pytest.mark.parametrize(
    "text", ["", "0,1", "1,two", "...,8", "1,...", "1,...,8,16", "-1", "1,2,2", "4,...,4", "1234567"]
)
def test_what_is_none_is_told(text: str) -> None:
    with pytest.raises(InputError, match=r"nodes: given .*--nodes 1,2,4,\.\.\.,4096"):
        node_counts(text)
