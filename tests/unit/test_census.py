"""Gateways that know nothing of each other turn to different replicas."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnishot_ray.serving.census import Place, find_place, measure_distances, note_place


def places(nodes: int, on_each: int) -> list[Place]:
    of = nodes * on_each
    return [Place(rank, rank % on_each, of, str(rank // on_each)) for rank in range(of)]


@given(
    replicas=st.lists(st.sampled_from("abc"), max_size=40).map(sorted),
    rank=st.integers(0, 50),
    local_rank=st.integers(0, 50),
    of=st.integers(1, 60),
    node=st.sampled_from("abx"),
)
def test_all_replicas_come_in_turn_and_those_of_the_own_node_first(
    replicas: list[str], rank: int, local_rank: int, of: int, node: str
) -> None:
    distances = measure_distances(replicas, Place(rank, local_rank, of, node))
    assert sorted(distances) == list(range(len(replicas)))
    in_turn = [replicas[distances.index(turn)] for turn in range(len(replicas))]
    own = replicas.count(node)
    assert in_turn[:own] == [node] * own


@pytest.mark.parametrize(("nodes", "on_each", "replicas"), [(1, 4, 8), (8, 5, 8), (3, 2, 2)])
def test_nobody_begins_where_another_does(nodes: int, on_each: int, replicas: int) -> None:
    of_replicas = [str(node) for node in range(nodes) for _ in range(replicas)]
    firsts = [measure_distances(of_replicas, place).index(0) for place in places(nodes, on_each)]
    assert max(Counter(firsts).values()) == 1


def test_of_more_gateways_than_replicas_as_many_begin_at_each() -> None:
    firsts = [measure_distances(["0"] * 3, place).index(0) for place in places(1, 9)]
    assert Counter(firsts) == {0: 3, 1: 3, 2: 3}


def test_gateways_without_replicas_beside_them_share_those_elsewhere() -> None:
    firsts = [measure_distances(["far"] * 8, place).index(0) for place in places(2, 2)]
    assert firsts == [0, 2, 4, 6]


def test_the_place_is_the_one_last_noted() -> None:
    for place in places(1, 2):
        note_place(place)
        assert find_place() is place
