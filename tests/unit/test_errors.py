"""The tree of errors: stable codes, safe to send between processes, each with a status."""

import inspect
import pickle
import re

import pytest

from omnishot_ray import errors
from omnishot_ray.api.problems import STATUS, as_problem, describe, status_of
from omnishot_ray.errors import (
    CapacityError,
    ConfigError,
    FieldError,
    ImageError,
    OmnishotError,
    Overloaded,
    RateLimited,
    RequestError,
    StorageUnavailable,
    UpstreamError,
    UpstreamResting,
)

BRANCHES = {OmnishotError, RequestError, ImageError, CapacityError, UpstreamError}
CLASSES = [
    cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, OmnishotError)
]
LEAVES = [cls for cls in CLASSES if cls not in BRANCHES]
SERVED = [cls for cls in LEAVES if cls is not ConfigError]  # said before anything is served

by_leaf = pytest.mark.parametrize("cls", LEAVES, ids=lambda cls: cls.__name__)
by_served = pytest.mark.parametrize("cls", SERVED, ids=lambda cls: cls.__name__)


def test_the_drawing_of_the_tree_is_complete() -> None:
    drawn = re.findall(r"[├└]── (\w+)", errors.__doc__ or "")
    assert sorted(drawn) == sorted(cls.__name__ for cls in CLASSES if cls is not OmnishotError)
    assert len(CLASSES) > 15


def test_the_drawing_shows_who_descends_from_whom() -> None:
    branch = OmnishotError
    for line in (errors.__doc__ or "").splitlines():
        drawn = re.search(r"[├└]── (\w+)", line)
        if not drawn:
            continue
        cls = getattr(errors, drawn[1])
        top = line.strip()[0] in "├└"
        assert cls.__bases__ == (OmnishotError if top else branch,)
        branch = cls if top else branch


def test_codes_are_unique_and_fit_in_an_address() -> None:
    codes = [cls.code for cls in LEAVES]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", code) for code in codes)


@by_leaf
def test_a_leaf_has_a_title_and_a_meaning_of_its_own(cls: type[OmnishotError]) -> None:
    assert cls.title != OmnishotError.title
    assert cls.__doc__ != OmnishotError.__doc__
    assert not cls.__subclasses__()


def sample(cls: type[OmnishotError]) -> OmnishotError:
    if cls in (Overloaded, RateLimited, StorageUnavailable, UpstreamResting):
        return cls("Too much", 2.5)
    return cls("What was wrong", (FieldError("width", "what would be right"),))


@by_leaf
def test_an_error_survives_the_way_between_processes(cls: type[OmnishotError]) -> None:
    error = sample(cls)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is cls
    assert again.detail == error.detail == str(again)
    assert again.fields == error.fields
    assert getattr(again, "retry_after_s", None) == getattr(error, "retry_after_s", None)


def test_when_to_come_back_survives_too() -> None:
    for cls in (Overloaded, RateLimited, StorageUnavailable, UpstreamResting):
        assert pickle.loads(pickle.dumps(cls("Too much", 2.5))).retry_after_s == 2.5


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_only_waiting_helps_against_what_is_retryable(cls: type[OmnishotError]) -> None:
    may_help = issubclass(
        cls, CapacityError | UpstreamError | errors.RequestTimeout | errors.InternalError
    ) and cls not in (UpstreamError, errors.UpstreamRefused, errors.NotStored)
    assert cls.retryable is may_help


@by_served
def test_every_error_has_its_status(cls: type[OmnishotError]) -> None:
    assert cls in STATUS
    assert status_of(sample(cls)) == STATUS[cls]
    assert (STATUS[cls] >= 500) is (
        issubclass(cls, CapacityError | UpstreamError | errors.InternalError)
        and cls not in (Overloaded, RateLimited, errors.NotStored)
    )


@pytest.mark.parametrize("cls", [errors.CorruptImage, errors.Overloaded, OmnishotError])
def test_a_class_that_is_not_listed_takes_its_ancestors_status(cls: type[OmnishotError]) -> None:
    heir = type("Heir", (cls,), {})
    assert status_of(heir("x")) == STATUS.get(cls, 500)


@by_served
def test_the_problem_document(cls: type[OmnishotError]) -> None:
    error = sample(cls)
    assert as_problem(error, "an-id") == {
        "type": f"/problems/{cls.code}",
        "title": cls.title,
        "status": STATUS[cls],
        "detail": error.detail,
        "instance": "an-id",
        "errors": [{"name": field.name, "detail": field.detail} for field in error.fields],
    }


@by_served
def test_the_type_of_a_problem_is_explained(cls: type[OmnishotError]) -> None:
    meaning = describe(cls.code)
    assert meaning is not None
    assert (meaning["code"], meaning["status"]) == (cls.code, STATUS[cls])
    assert meaning["meaning"]
    assert describe("no-such-code") is None
