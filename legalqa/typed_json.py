"""JSON checked against the type that describes it, and the place of the first mistake in words.

Writers and readers of a log share one TypedDict, so that the JSON is described once. (msgspec would check the
same types, but its errors lose the key inside an object of free keys, `metrics[...].mean` for
`metrics.overall.mean`, and name a Python type where a user needs "a share from 0 to 1".)
"""

import functools
import math
import types
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple, NotRequired, get_args, get_origin, get_type_hints, is_typeddict

LARGEST = 1e30  # a real 8B run has 2e18 floating-point operations; 10**400 is no float


class Leaf(NamedTuple):
    """A value that is neither object nor list: what is expected, in words, and whether a value is that."""

    expected: str
    test: Callable[[Any], bool]


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def within(low: float, high: float) -> Callable[[Any], bool]:
    """False for NaN; compares an int that is too large for a float."""
    return lambda value: is_number(value) and low <= value <= high


def or_none(test: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or test(value)


def is_logged_number(value: Any) -> bool:
    """A diverged run logs NaN or infinity; Python's JSON reads both."""
    return is_number(value) and (
        abs(value) <= LARGEST or isinstance(value, float) and not math.isfinite(value)
    )


Count = Annotated[int, Leaf("a count", lambda value: type(value) is int and 0 <= value < 10**15)]
Number = Annotated[float, Leaf("a number", within(-LARGEST, LARGEST))]
AnyNumber = Annotated[float | None, Leaf("a number or null", or_none(is_logged_number))]
Amount = Annotated[float | None, Leaf("a number from 0, or null", or_none(within(0, LARGEST)))]
PLAIN = {
    str: Leaf("text", lambda value: isinstance(value, str)),
    str | None: Leaf("text or null", lambda value: value is None or isinstance(value, str)),
    bool: Leaf("true or false", lambda value: isinstance(value, bool)),
    bool | None: Leaf("true, false or null", lambda value: value is None or isinstance(value, bool)),
    object: Leaf("anything", lambda value: True),
}


@functools.cache
def keys_of(kind: Any) -> dict[str, tuple[Any, bool]]:
    """{key: (type, whether it must be there)} of a TypedDict."""
    hints = get_type_hints(kind, include_extras=True)
    return {
        key: (get_args(hint)[0] if get_origin(hint) is NotRequired else hint, key in kind.__required_keys__)
        for key, hint in hints.items()
    }


@functools.cache
def leaf_of(kind: Any) -> Leaf | None:
    return PLAIN.get(kind) or next((part for part in get_args(kind) if isinstance(part, Leaf)), None)


def json_problem(value: Any, kind: Any, where: str = "") -> str | None:
    """The first place where `value` is not of type `kind`, as "place: what is expected"; None if all is well.

    Types: a TypedDict (further keys are ignored), dict[str, type], list[type], `type | None` of these, those
    in PLAIN, or one annotated with a Leaf.
    """
    leaf = leaf_of(kind)
    if leaf and leaf.test(value):
        return None
    place = where or "top level"
    if leaf:
        return f"{place}: {leaf.expected} is expected"
    if isinstance(kind, types.UnionType):
        return None if value is None else json_problem(value, get_args(kind)[0], where)
    if get_origin(kind) is list:
        if not isinstance(value, list):
            return f"{place}: a list is expected"
        return first_problem((item, get_args(kind)[0], f"{where}[{i}]") for i, item in enumerate(value))
    if not isinstance(value, dict):
        return f"{place}: an object is expected"
    if not is_typeddict(kind):
        return first_problem((item, get_args(kind)[1], f"{where}.{key}") for key, item in value.items())
    missing = [key for key, (_, required) in keys_of(kind).items() if required and key not in value]
    if missing:
        return f"{place}: no key '{missing[0]}'"
    return first_problem(
        (value[key], inner, f"{where}.{key}".lstrip("."))
        for key, (inner, _) in keys_of(kind).items()
        if key in value
    )


def first_problem(parts) -> str | None:
    return next(filter(None, (json_problem(*part) for part in parts)), None)
