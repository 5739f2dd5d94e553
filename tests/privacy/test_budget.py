"""The budget of a space: recorded first, never exceeded, and refused where it promises nothing."""

from __future__ import annotations

from contextlib import suppress

import pytest

from isthmus.errors import InvalidInput
from isthmus.privacy.accountant import Mechanism, epsilon_of
from isthmus.privacy.budget import read_budget, require_budget, spend
from isthmus.privacy.statistics import mechanisms_for


def test_what_was_spent_is_composed(tmp_path):
    assert read_budget(tmp_path).spent(1e-6) == 0
    spend(tmp_path, mechanisms_for(3.0, 1e-6), 1e-6, None)
    assert read_budget(tmp_path).spent(1e-6) == pytest.approx(3.0, rel=1e-6)
    budget = spend(tmp_path, mechanisms_for(3.0, 1e-6), 1e-6, None)
    assert budget == read_budget(tmp_path)
    assert 3 < budget.spent(1e-6) < 6  # twice as much would not be exact
    assert budget.spent(1e-6) == epsilon_of(mechanisms_for(3.0, 1e-6) * 2, 1e-6)


def test_the_total_is_reached_and_not_exceeded(tmp_path):
    spend(tmp_path, mechanisms_for(3.0, 1e-6), 1e-6, total=3.0)
    before = (tmp_path / "privacy_budget.json").read_bytes()
    with pytest.raises(InvalidInput, match=r"from epsilon 3 to 3\.\d+ at delta 1e-06, and \[pri"):
        spend(tmp_path, mechanisms_for(0.5, 1e-6), 1e-6, total=3.0)
    assert (tmp_path / "privacy_budget.json").read_bytes() == before
    spend(tmp_path, mechanisms_for(0.5, 1e-6), 1e-6, total=4.0)


def test_a_damaged_record_lets_nothing_be_spent(tmp_path):
    (tmp_path / "privacy_budget.json").write_text('{"expenses": [{"time"')
    with pytest.raises(InvalidInput, match="damaged, so what private trainings have spent is not"):
        spend(tmp_path, [Mechanism(name="sum", noise_multiplier=1.0)], 1e-6, None)


def test_no_changed_byte_changes_what_was_spent(tmp_path):
    spent = spend(tmp_path, mechanisms_for(3.0, 1e-6), 1e-6, None)
    file = tmp_path / "privacy_budget.json"
    whole = file.read_bytes()
    for place in range(0, len(whole), 3):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with suppress(InvalidInput):
            assert read_budget(tmp_path) == spent  # a blank that became another blank, say


@pytest.mark.parametrize("epsilon", [0.0, -1.0, float("nan"), float("inf")])
def test_an_epsilon_that_promises_nothing_is_refused(epsilon):
    with pytest.raises(InvalidInput, match="give a finite number above 0"):
        require_budget(epsilon, 1e-6, 100)


@pytest.mark.parametrize("delta", [0.0, -1e-6, 0.01, 0.5, float("nan")])
def test_a_delta_of_a_user_or_more_is_refused(delta):
    with pytest.raises(InvalidInput, match="all rows of one random user could be published"):
        require_budget(3.0, delta, 100)
    require_budget(3.0, 0.0099, 100)
