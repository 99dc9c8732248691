"""How a rebuild is divided among processes, and what goes between them."""

from __future__ import annotations

import pickle
from importlib import import_module

import pytest
from aiokafka import TopicPartition
from barecount_readmodel import LogTooShort, View, schema_of
from barecount_readmodel.shares import divided
from barecount_readmodel.spread import _sendable


def at(partition: int) -> TopicPartition:
    return TopicPartition("t", partition)


def test_the_largest_partition_goes_first_onto_whom_has_least() -> None:
    left = {at(0): 10, at(1): 70, at(2): 40, at(3): 30, at(4): 5}
    assert divided(left, 2) == [[at(1), at(0)], [at(2), at(3), at(4)]]


@pytest.mark.parametrize("processes", [1, 2, 3, 16])
def test_every_partition_is_in_one_share_and_no_share_is_empty(processes: int) -> None:
    left = {at(partition): partition + 1 for partition in range(5)}
    shares = divided(left, processes)
    assert len(shares) == min(processes, 5)
    assert all(shares)
    assert sorted(where for share in shares for where in share) == sorted(left)


def test_nothing_left_is_no_share() -> None:
    assert divided({}, 4) == []


@pytest.mark.parametrize("service", ["command", "execution", "lineage", "evidence", "webhooks"])
def test_a_service_s_views_go_to_another_process_and_are_the_same_there(service: str) -> None:
    module = import_module(f"barecount_{service}.projection")
    views: list[View] = list(module.views() if hasattr(module, "views") else module.VIEWS)
    again = pickle.loads(pickle.dumps(views))
    assert [(view.NAME, view.TOPICS, view.DDL) for view in again] == [(view.NAME, view.TOPICS, view.DDL) for view in views]
    assert schema_of(service, again) == schema_of(service, views)


def _raised(error: Exception) -> object:
    try:
        raise error
    except Exception as caught:
        return pickle.loads(pickle.dumps(_sendable(caught)))


def test_an_error_comes_back_as_what_it_was_with_where_it_was() -> None:
    error = _raised(LogTooShort("t/0 brought nothing"))
    assert isinstance(error, LogTooShort)
    assert str(error) == "t/0 brought nothing"
    assert "LogTooShort: t/0 brought nothing" in error.__notes__[0]


def test_an_error_that_does_not_go_through_pickle_keeps_its_name_and_its_words() -> None:
    class Odd(Exception):
        pass

    error = _raised(Odd("of a kind")).revived()  # type: ignore[attr-defined]
    assert (type(error).__name__, str(error)) == ("Odd", "of a kind")
    assert "In process" in error.__notes__[0]
