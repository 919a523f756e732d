"""Every attack of the list on the sandbox itself, at every level this machine offers, judged from outside."""

import ast
import os
from collections import Counter
from pathlib import Path

import pytest
from support.attack_arena import Arena
from support.attack_programs import ATTACKS, IDLE, Attack

import bootstrap
from bootstrap.sandbox.job import Ending, Level
from bootstrap.sandbox.probes import available_levels

ELSEWHERE = {32, 34, 35, 36, 38, 39, 40}
"""Rows with tests of their own: here below, in the other files of this folder, and those of the code verifier."""


def test_the_machine_offers_the_seal() -> None:
    assert available_levels()[Level.SEAL] == ""


def test_every_row_of_the_list_has_attacks() -> None:
    rows = Counter(attack.row for attack in ATTACKS + IDLE)
    assert set(rows) | ELSEWHERE == set(range(1, 41))


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.label)
def test_the_attack_is_contained(arena: Arena, attack: Attack) -> None:
    runs = 2 if attack.row == 37 else 1
    outcomes = [arena.attack(attack) for _ in range(runs)]
    assert len({(outcome.ending, repr(outcome.values)) for outcome in outcomes}) == 1
