"""The mathematics that can be imported by itself."""

import inspect

import pytest

from structpred.objectives import functional


@pytest.mark.parametrize("name", functional.__all__)
def test_it_has_an_example_beside_its_formula(name: str) -> None:
    function = getattr(functional, name)
    assert inspect.isfunction(function)
    assert ">>> " in (function.__doc__ or ""), "which is run with the other doctests"
