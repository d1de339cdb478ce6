"""The state machines as they are deployed: calls and errors by AWS's models, a graph without holes, rights for what is called, room to run."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import botocore.session
import networkx as nx  # type: ignore[import-untyped]  # brings no types
import pytest
import yaml

from tests.reserved_words import EXPRESSIONS, reserved_in
from tests.rights.policies import listed
from tests.statemachine.calls import OPTIMIZED_OPERATIONS, RESERVED, calls, handlers, is_expression
from tests.statemachine.definitions import END_JOB, NAMES, SPOT_JOB, SUBSTITUTION, definition, states, text, ways
from tests.statemachine.expressions import CONTENTS, FUNCTIONS, OWN, assigned, contents, expressions, free_names, needed
from tests.statemachine.histories import (
    LIMIT,
    attempts_per_execution,
    bound_of_looks,
    bound_of_rounds,
    counters,
    cycles,
    graph,
    most_events_of_execution,
)
from tests.template.stack import PARAMETERS, ROOT, WITH_JOB, of_type, resolved

if TYPE_CHECKING:
    from collections.abc import Iterator

VALIDATOR = ROOT / ".venv-node/node_modules/.bin/asl-validator"
ROLES = {SPOT_JOB: "SpotJobRole", END_JOB: "EndJobRole"}
ALONGSIDE = {
    "sync:2": {
        "states:DescribeExecution": "Step Functions asks how the other execution is",
        "states:StopExecution": "and stops it when this one is stopped",
        "events:DescribeRule": "Step Functions hears of its end through a rule of its own",
        "events:PutRule": "likewise",
        "events:PutTargets": "likewise",
    },
    "ec2:CreateFleet": {
        "ec2:RunInstances": "an instant fleet runs its instances with the caller's rights",
        "ec2:CreateTags": "and tags them with these",
        "iam:PassRole": "and gives them the launch template's role",
    },
}
"""What a call needs beyond the action of its name: "IAM policies for calling Step Functions workflows" and "EC2 Fleet prerequisites"."""
NO_OPERATION = {"iam:PassRole"}


def _substitutions(name: str) -> dict[str, Any]:
    """Return what the template puts into a definition, in a stack with the job part."""
    (found,) = [
        machine["DefinitionSubstitutions"]
        for machine in of_type("AWS::StepFunctions::StateMachine").values()
        if resolved(machine["RoleArn"]) == f"{ROLES[name]}.Arn"
    ]
    values: dict[str, Any] = resolved(found, WITH_JOB)
    return values


MACHINES = {name: definition(name, _substitutions(name)) for name in NAMES}
STATES = [(name, state) for name, machine in MACHINES.items() for state in states(machine)]
CALLS = [pytest.param(call, id=f"{name}-{call.state}") for name, machine in MACHINES.items() for call in calls(machine)]


def _state(name: str, state: str) -> dict[str, Any]:
    return states(MACHINES[name])[state]


# What is called


@pytest.mark.parametrize("call", CALLS)
def test_every_call_is_one_of_its_service(call: Any) -> None:
    """Each task calls an operation of its service, with that operation's arguments and nothing else."""
    assert not call.is_optimized or call.operation in OPTIMIZED_OPERATIONS[call.service]
    assert list(call.problems()) == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"Type": "instantly"}, "Launch.Type: 'instantly' is none of request, maintain, instant"),
        ({"TagSpecification": []}, "Launch: CreateFleetRequest has no member TagSpecification"),
        ({"TargetCapacitySpecification": {}}, "Launch.TargetCapacitySpecification: TargetCapacitySpecificationRequest lacks TotalTargetCapacity"),
        (
            {"TargetCapacitySpecification": {"TotalTargetCapacity": "1"}},
            "Launch.TargetCapacitySpecification.TotalTargetCapacity: '1' is no integer",
        ),
    ],
)
def test_a_wrong_argument_is_seen(change: dict[str, Any], problem: str) -> None:
    """The comparison with botocore's model sees a wrong name, a wrong value, a wrong type, and what is missing."""
    machine = definition(SPOT_JOB, _substitutions(SPOT_JOB))
    states(machine)["Launch"]["Arguments"].update(change)
    (launch,) = [call for call in calls(machine) if call.state == "Launch"]
    assert list(launch.problems()) == [problem]


@pytest.mark.parametrize("call", CALLS)
def test_every_error_is_one_of_its_call(call: Any, request: pytest.FixtureRequest) -> None:
    """Each error that a task's retriers and catchers name is Step Functions' own, or one of the call's as Step Functions spells it."""
    name = request.node.callspec.id.split("-")[0]
    named = {error for errors in handlers(_state(name, call.state)) for error in errors}
    assert named - RESERVED <= call.errors()


@pytest.mark.parametrize("call", CALLS)
def test_no_expression_has_a_reserved_word(call: Any) -> None:
    """What DynamoDB would take for a word of its own goes by a placeholder; in JSONata, the texts are looked at."""
    for name in EXPRESSIONS:
        written = call.arguments.get(name, "")
        texts = re.findall(r"'([^']*)'", written) if is_expression(written) else [written]
        assert not {word for text in texts for word in reserved_in(text)}, name


@pytest.mark.parametrize("call", CALLS)
def test_every_call_is_retried(call: Any, request: pytest.FixtureRequest) -> None:
    """Each call is made again, with growing pauses, when AWS is busy or does not answer; errors without a name of their own count as busy."""
    (retrier,) = _state(request.node.callspec.id.split("-")[0], call.state)["Retry"]
    general = {error for error in call.errors() if re.search(r"\.(SdkClient|Amazon\w+|AWS\w+|Ec2|Sfn|DynamoDb)Exception$", error)}
    assert general <= set(retrier["ErrorEquals"])
    assert (retrier["BackoffRate"], retrier["JitterStrategy"]) == (2, "FULL")


def test_a_service_whose_errors_have_no_suffix() -> None:
    """What DynamoDB calls InternalServerError ends in Exception at an SDK integration; at an optimized one it may be either, so both are named."""
    for name, machine in MACHINES.items():
        for call in calls(machine):
            (retrier,) = _state(name, call.state)["Retry"]
            short = {error for error in call.errors() if not error.endswith("Exception") and f"{error}Exception" in retrier["ErrorEquals"]}
            assert short <= set(retrier["ErrorEquals"])
            assert call.is_optimized or not short


def test_all_else_is_caught_in_the_end() -> None:
    """Whatever a call of the job fails with has a way to go on: States.ALL stands alone in the last catcher, as Step Functions wants it."""
    for call in calls(MACHINES[SPOT_JOB]):
        *others, last = [catcher["ErrorEquals"] for catcher in _state(SPOT_JOB, call.state)["Catch"]]
        assert last == ["States.ALL"], call.state
        assert not any("States.ALL" in errors for errors in others), call.state


def test_what_ends_a_job_fails_with_the_reason() -> None:
    """The machine that ends stopped jobs has nothing to clean up: an error that is not retried away is its execution's own, for all to see."""
    catchers = [catcher["ErrorEquals"] for state in states(MACHINES[END_JOB]).values() for catcher in state.get("Catch", [])]
    assert catchers == [["DynamoDB.ConditionalCheckFailedException"]]


# The graph


@pytest.mark.parametrize("name", NAMES)
def test_every_state_is_reached_and_leads_to_an_end(name: str) -> None:
    """Each way leads to a state that is there; each state is reached from the first, and an end from each state."""
    machine = MACHINES[name]
    assert {target for _, _, target in ways(machine)} | {machine["StartAt"]} <= states(machine).keys()
    found = graph(machine)
    assert {machine["StartAt"]} | nx.descendants(found, machine["StartAt"]) == states(machine).keys()
    ends = {state for state, how in states(machine).items() if how["Type"] in ("Succeed", "Fail") or how.get("End")}
    assert all(state in ends or nx.descendants(found, state) & ends for state in states(machine))


@pytest.mark.parametrize("name", NAMES)
def test_every_state_has_one_way_on(name: str) -> None:
    """A choice has a Default, an end has nothing after it, and every other state has exactly one Next or End."""
    for state, how in states(MACHINES[name]).items():
        on = [key for key in ("Next", "End", "Default") if key in how]
        assert on == {"Choice": ["Default"], "Succeed": [], "Fail": []}.get(how["Type"], on[:1]), state
        assert how["Type"] in ("Succeed", "Fail") or len(on) == 1, state


# JSONata


@pytest.mark.parametrize("name", NAMES)
def test_every_variable_is_assigned_before(name: str) -> None:
    """Whichever way a state is reached, the variables that it reads are assigned, and the functions that it calls are Step Functions'."""
    before = assigned(MACHINES[name])
    assert {state: needed(how) - before[state] for state, how in states(MACHINES[name]).items() if needed(how) - before[state]} == {}


@pytest.mark.parametrize("name", NAMES)
def test_no_variable_is_assigned_in_vain(name: str) -> None:
    """Each variable that is assigned is read somewhere."""
    everything = states(MACHINES[name]).values()
    places = [branch for state in everything for branch in [state, *state.get("Choices", []), *state.get("Catch", [])]]
    names = {variable for place in places for variable in place.get("Assign", {})}
    assert names == {variable for state in everything for variable in needed(state)}
    assert names & (FUNCTIONS | {OWN}) == set(), "a variable hides a function"


@pytest.mark.parametrize(("name", "state"), STATES)
def test_states_has_what_is_read_of_it(name: str, state: str) -> None:
    """What is read of $states is there: the error in a catcher only, the result in what follows a task only, and the known names only."""
    how = _state(name, state)
    caught = {part for catcher in how.get("Catch", []) for expression in expressions(catcher) for part in contents(expression)}
    after = {part for key in ("Assign", "Output") for expression in expressions(how.get(key)) for part in contents(expression)}
    rest = {key: value for key, value in how.items() if key not in ("Catch", "Assign", "Output")}
    before = {part for expression in expressions(rest) for part in contents(expression)}
    allowed = CONTENTS - {"errorOutput"} if how["Type"] == "Task" else CONTENTS - {"errorOutput", "result"}
    assert caught <= {"errorOutput", "context", "input"}
    assert after <= allowed
    assert before <= {"context", "input"}


def test_an_expression_s_names() -> None:
    """What an expression binds itself is not taken from outside, and only where it is bound."""
    assert free_names("{% ($a := $b; $f := function($c) { $a + $c + $d }; $map($e, $f)) %}") == {"b", "d", "e", "map"}
    assert free_names("{% [$xs.($x := $; $ys.{'x': $x, 'y': $})] & ($x) %}") == {"xs", "ys", "x"}
    assert OWN in free_names("{% $states.input %}")


# What the template provides


@pytest.mark.parametrize("name", NAMES)
def test_every_substitution_is_provided(name: str) -> None:
    """The template provides what the definition asks for, and nothing else."""
    assert set(SUBSTITUTION.findall(text(name))) == _substitutions(name).keys()


@pytest.mark.parametrize("name", NAMES)
def test_cloudformation_reads_it_as_it_is_meant(name: str) -> None:
    """No aliases, which its reader takes for texts (cfn-language-discussion 49), and no text that YAML 1.1 reads as something else."""
    assert not [event.anchor for event in yaml.parse(text(name)) if isinstance(event, yaml.AliasEvent)]
    plain = [token.value for token in yaml.scan(text(name)) if isinstance(token, yaml.ScalarToken) and token.plain]
    assert not {value for value in plain if value.lower() in {"yes", "no", "on", "off"}}


@pytest.mark.parametrize("name", NAMES)
def test_the_definition_is_small_enough(name: str) -> None:
    """A definition has at most 1 MB ("Service quotas")."""
    assert len(json.dumps(MACHINES[name])) < 1_000_000


@pytest.mark.parametrize("name", NAMES)
def test_the_role_may_do_what_is_called_and_nothing_else(name: str) -> None:
    """A state machine's role allows its calls, what these need besides, and nothing else."""
    assert set(_actions(name)) == set(_needed_actions(name))


@pytest.mark.parametrize("name", NAMES)
def test_every_action_of_the_role_exists(name: str) -> None:
    """Each action is an operation of its service: a misspelt one would grant nothing."""
    session = botocore.session.get_session()
    for action in set(_actions(name)) - NO_OPERATION:
        service, operation = action.split(":")
        assert operation in session.get_service_model({"states": "stepfunctions"}.get(service, service)).operation_names, action


@pytest.mark.parametrize("name", NAMES)
def test_the_role_changes_only_what_is_the_stack_s(name: str) -> None:
    """What is allowed on all resources only reads; the rest names the stack's own resources, or instances by tag or launch template."""
    for statement in _statements(name):
        assert statement["Effect"] == "Allow"
        for action in listed(statement["Action"]):
            assert "*" not in action
            assert "*" not in listed(statement["Resource"]) or re.match(r"\w+:(Describe|Get|List)", action), action


def _statements(name: str) -> Iterator[dict[str, Any]]:
    for policy in resolved(of_type("AWS::IAM::Role")[ROLES[name]], WITH_JOB)["Policies"]:
        yield from policy["PolicyDocument"]["Statement"]


def _actions(name: str) -> Iterator[str]:
    for statement in _statements(name):
        yield from listed(statement["Action"])


def _needed_actions(name: str) -> Iterator[str]:
    for call in calls(MACHINES[name]):
        yield call.action
        yield from ALONGSIDE.get(call.pattern, {})
        yield from ALONGSIDE.get(call.action, {})


# Room to run


def test_every_cycle_counts() -> None:
    """Whatever leads back to a state is counted on the way; the machine that ends jobs goes back nowhere."""
    machine = MACHINES[SPOT_JOB]
    for cycle in cycles(machine):
        assert {counter for state in cycle for counter in counters(_state(SPOT_JOB, state))} & {"rounds", "looks"}, cycle
    assert list(cycles(MACHINES[END_JOB])) == []


@pytest.mark.parametrize("launch_attempts", ["MinValue", "Default", "MaxValue"])
def test_the_history_has_room(launch_attempts: str) -> None:
    """However much goes wrong, an execution goes on in another before it has 25,000 history events."""
    machine = definition(SPOT_JOB, _substitutions(SPOT_JOB) | {"LaunchAttempts": PARAMETERS["LaunchAttempts"][launch_attempts]})
    worst = most_events_of_execution(machine, {"rounds": bound_of_rounds(machine), "looks": bound_of_looks(machine)})
    assert worst < LIMIT, f"{worst:.0f} events"
    assert most_events_of_execution(MACHINES[END_JOB], {}) < LIMIT


def test_a_thousand_interruptions_take_some_executions() -> None:
    """A job that is interrupted a thousand times goes through six executions, each of which waits for the next."""
    assert math.ceil(1001 / attempts_per_execution(MACHINES[SPOT_JOB])) == 6


# By another's eyes


@pytest.mark.parametrize("name", NAMES)
def test_asl_validator_finds_nothing(name: str) -> None:
    """The npm package asl-validator, which has a schema of the language and JSONata's own parser, finds nothing."""
    if not shutil.which("node"):
        pytest.skip("asl-validator needs Node.js, and there is no node on the PATH")
    if not VALIDATOR.exists():
        pytest.skip(f"asl-validator is not installed: {VALIDATOR.relative_to(ROOT)} (`make setup` does that where there is npm)")
    given = json.dumps(_as_validator_reads_it(MACHINES[name]))
    found = subprocess.run([VALIDATOR, "--json-definition", given], capture_output=True, text=True, timeout=60, check=False)
    assert found.returncode == 0, found.stderr


def _as_validator_reads_it(part: Any) -> Any:
    """Write what the language allows, and asl-validator 4.0.0 refuses, in its other form: line breaks in an expression, empty texts."""
    match part:
        case dict():
            return {name: _as_validator_reads_it(value) for name, value in part.items()}
        case list():
            return [_as_validator_reads_it(value) for value in part]
        case "":
            return "{% '' %}"
        case str() if is_expression(part):
            return part.replace("\n", " ")
    return part
