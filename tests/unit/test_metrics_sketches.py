"""The columns of bins are DDSketch: as good as the paper says, and as the library answers."""

import numpy as np
import pytest
from ddsketch import DDSketch

from omnishot_ray.metrics.sketches import ACCURACY, bins_of, quantiles, values_of

SHARES = (0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)
_draw = np.random.default_rng(7)
SETS = {
    "lognormal": _draw.lognormal(3, 2, 20_000),
    "pareto": (_draw.pareto(1.1, 20_000) + 1) * 0.01,
    "two humps": np.concatenate([_draw.normal(5, 0.1, 9000), _draw.normal(900, 5, 1000)]),
    "zeros": np.concatenate([np.zeros(500), _draw.exponential(10, 500)]),
    "one": np.array([3.7]),
}


def ask(values: np.ndarray, share: float) -> float:
    bins, counts = np.unique(bins_of(values), return_counts=True)
    return float(quantiles(np.zeros(len(bins), np.int64), bins, counts, share, 1)[0])


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("values", SETS.values(), ids=SETS)
def test_a_quantile_is_within_the_accuracy(values: np.ndarray, share: float) -> None:
    exact = np.quantile(values, share, method="lower")
    assert ask(values, share) == pytest.approx(exact, rel=ACCURACY * 1.001, abs=1e-6)


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("values", SETS.values(), ids=SETS)
def test_it_is_what_the_library_answers(values: np.ndarray, share: float) -> None:
    library = DDSketch(ACCURACY)
    for value in values.tolist():
        library.add(value)
    answer = library.get_quantile_value(share)
    assert ask(values, share) == pytest.approx(answer, rel=1e-9, abs=1e-6)


def test_rows_do_not_mix() -> None:
    values = np.array([1.0, 2.0, 3.0, 100.0, 200.0, 300.0])
    rows = np.array([4, 4, 4, 1, 1, 1])
    answer = quantiles(rows, bins_of(values), np.ones(6, np.int64), 0.5, 6)
    assert np.isnan(answer[[0, 2, 3, 5]]).all()
    assert answer[[1, 4]] == pytest.approx([200.0, 2.0], rel=ACCURACY)


def test_what_has_no_bin_of_its_own_goes_to_the_outermost() -> None:
    values = values_of(bins_of(np.array([-5.0, 0.0, 1e-9, 1e300])))
    assert values[:3].tolist() == [0.0, 0.0, 0.0]
    assert np.isfinite(values[3])
