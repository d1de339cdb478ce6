"""Filter patterns of CloudWatch Logs, with the examples of its User Guide where it has some."""

from __future__ import annotations

import json

import pytest

from spot_sandbox.filter_pattern import FilterPattern, PatternError, number_at, text_at

EVENT = json.dumps(
    {
        "eventType": "UpdateTrail",
        "sourceIPAddress": "111.111.111.111",
        "arrayKey": ["value", "another value"],
        "objectList": [{"name": "a", "id": 1}, {"name": "b", "id": 2}],
        "SomeObject": None,
        "ThisFlag": True,
        "nested": {"count": 5.5, "two words": "x"},
        "text-number": "7",
    }
)


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        '{ $.eventType = "UpdateTrail" }',
        "{ $.eventType = UpdateTrail }",
        '{ $.eventType = "Update*" }',
        "{ $.eventType = *Trail }",
        '{ $.eventType != "Other" }',
        "{ $.sourceIPAddress != 123.123.* }",
        "{ $.sourceIPAddress = 111.111.* }",
        '{ $.arrayKey[0] = "value" }',
        '{ $.arrayKey[*] = "another value" }',
        "{ $.objectList[1].id = 2 }",
        "{ $.objectList[*].id >= 2 }",
        "{ $.SomeObject IS NULL }",
        "{ $.ThisFlag IS TRUE }",
        "{ $.SomeOtherObject NOT EXISTS }",
        "{ $.nested.count EXISTS }",
        "{ $.nested.count > 5 && $.nested.count <= 5.5 }",
        "{ $.nested.count = 5.5e0 }",
        '{ $.nested["two words"] = "x" }',
        '{ ($.eventType = "no" || $.ThisFlag IS TRUE) && $.SomeObject IS NULL }',
        '{ $.eventType = "no" && $.ThisFlag IS TRUE || $.SomeObject IS NULL }',
        "{ $.eventType = %^Up.*Trail$% }",
        "{ $.ThisFlag = true }",
    ],
)
def test_matches(pattern: str) -> None:
    """These patterns match the event."""
    assert FilterPattern(pattern).matches(EVENT)


@pytest.mark.parametrize(
    "pattern",
    [
        '{ $.eventType = "updatetrail" }',
        '{ $.eventType = "Update" }',
        '{ $.missing = "x" }',
        '{ $.missing != "x" }',
        "{ $.eventType > 3 }",
        "{ $.text-number > 3 }",
        "{ $.SomeObject IS TRUE }",
        "{ $.ThisFlag IS FALSE }",
        "{ $.eventType NOT EXISTS }",
        "{ $.arrayKey[2] EXISTS }",
        '{ $.eventType = "UpdateTrail" && $.nested.count < 5 }',
        '{ $.eventType = "no" && ($.ThisFlag IS TRUE || $.SomeObject IS NULL) }',
    ],
)
def test_does_not_match(pattern: str) -> None:
    """These patterns do not match the event."""
    assert not FilterPattern(pattern).matches(EVENT)


def test_a_json_pattern_passes_over_plain_text() -> None:
    """A line that is no JSON matches no JSON pattern, not even one for a missing field."""
    assert not FilterPattern("{ $.missing NOT EXISTS }").matches("ERROR 400")


@pytest.mark.parametrize(
    ("pattern", "message", "matches"),
    [
        ("ERROR", "[ERROR 400] BAD REQUEST", True),
        ("ERROR", "[error 400]", False),
        ("ERROR ARGUMENTS", "ERROR INVALID ARGUMENTS", True),
        ("ERROR ARGUMENTS", "ERROR 400 BAD REQUEST", False),
        ('"INTERNAL SERVER ERROR"', "[ERROR 500] INTERNAL SERVER ERROR", True),
        ('"INTERNAL SERVER ERROR"', "INTERNAL ERROR", False),
        ("?ERROR ?ARGUMENTS", "ARGUMENTS only", True),
        ("?ERROR ?ARGUMENTS", "neither", False),
        ("ERROR -ARGUMENTS", "ERROR 400 BAD REQUEST", True),
        ("ERROR -ARGUMENTS", "ERROR INVALID ARGUMENTS", False),
        ("%AUTHORIZED%", "[UNAUTHORIZED] 401", True),
        (r"%4\d\d%", "ERROR 503", False),
    ],
)
def test_terms(pattern: str, message: str, matches: bool) -> None:  # noqa: FBT001 - the expected answer
    """Plain terms must all be there, optional ones one of them, excluded ones none."""
    assert FilterPattern(pattern).matches(message) is matches


@pytest.mark.parametrize(
    "pattern",
    ["{ $.a ~ 3 }", "{ $.a = 3", "{ a = 3 }", "{ $.a > text }", "{ $.a = }", "{ $.a IS maybe }", "{ ($.a = 1 }", "{ $.a = 1 && }", "[a, b]", "%(%"],
)
def test_an_invalid_pattern_is_refused(pattern: str) -> None:
    """What is not understood is an error, never taken for a pattern that matches everything or nothing."""
    with pytest.raises(PatternError):
        FilterPattern(pattern)


def test_a_metric_takes_its_value_from_a_field() -> None:
    """A number is read as it is, also from text; what is missing or no number gives none."""
    assert number_at(EVENT, "$.nested.count") == 5.5
    assert number_at(EVENT, "$.text-number") == 7.0
    assert number_at(EVENT, "$.eventType") is None
    assert number_at(EVENT, "$.missing") is None
    assert number_at("no json", "$.missing") is None


def test_a_dimension_takes_its_value_from_a_field() -> None:
    """Scalars are texts; objects, null and missing fields are none."""
    assert text_at(EVENT, "$.eventType") == "UpdateTrail"
    assert text_at(EVENT, "$.ThisFlag") == "true"
    assert text_at(EVENT, "$.nested") is None
    assert text_at(EVENT, "$.SomeObject") is None
