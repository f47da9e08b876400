"""Broken files come to a named error or a right result; `benchmarks/fuzz.py` does more of them."""

import os
import signal
from collections import Counter

import pytest

from benchmarks.fuzz import Case, draw_case, fuzz, run_engine
from benchmarks.mutations import Mutator, read_seeds
from tests.corpus import DATA

EXECUTIONS, SEED = 1_000, 3


@pytest.fixture(scope="module")
def mutator() -> Mutator:
    return Mutator(read_seeds([DATA]))


@pytest.mark.filterwarnings("ignore")  # of odd metadata, from everywhere
def test_broken_files_do_no_harm(mutator: Mutator) -> None:
    outcomes: Counter[str] = Counter()
    for number in range(EXECUTIONS):
        case = draw_case(mutator, SEED, number)
        try:
            outcomes[run_engine(case)] += 1
        except Exception as error:
            pytest.fail(f"execution {number} ended in {error!r}: {case.data[:64]!r} {case.wanted}")
    assert outcomes["made"] > EXECUTIONS / 10, "hardly any file is decoded: the changes are too big"
    assert outcomes["corrupt-image"] > EXECUTIONS / 4
    assert outcomes["limit-exceeded"] > 0
    assert outcomes["described"] > EXECUTIONS / 50


def test_the_same_number_is_the_same_case(mutator: Mutator) -> None:
    assert draw_case(mutator, SEED, 5) == draw_case(Mutator(read_seeds([DATA])), SEED, 5)
    assert len({draw_case(mutator, SEED, number).data for number in range(50)}) > 40


def _number(number: int) -> Case:
    return Case(bytes([max(0, number)]), ())


def _misbehave(case: Case) -> str:
    match case.data[0]:
        case 1:
            os.kill(os.getpid(), signal.SIGSEGV)
        case 2:
            raise ZeroDivisionError("ours")
        case 3:
            signal.pause()
        case 4:
            bytearray(2**31)
    return "made"


def test_whatever_harms_is_found() -> None:
    found: dict[int, str] = {}
    tally = fuzz(
        _misbehave, _number, 6, lambda number, report: found.update({number: report.kind}),
        deadline_s=1.0,
    )  # fmt: skip
    assert found == {1: "crash", 2: "exception", 3: "hang", 4: "memory"}
    assert tally.done == 6
    assert tally.outcomes["made"] == 2
    assert tally.children == 3
