"""Tag values, event fields, job input and output that want to be code are refused, or stay what they are: text."""

from __future__ import annotations

import json
import re
import tarfile
import time
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

import pytest
import yaml
from jsonata import Jsonata

from gameday.__main__ import _say
from gameday.__main__ import main as gameday
from gameday.failures import Unmet
from spot_agent.errors import Unusable
from spot_agent.job import Job
from spot_agent.program import ChildProgram
from spot_agent.workplace import Workplace
from spot_responder.adapters.notices_table import to_item
from spot_responder.domain.jobs import ATTEMPT_TAG, JOB_TAG
from spot_responder.domain.notices import Action, Notice, NoticeKind
from tests.checkpoint_document import PATH
from tests.examples import ACCOUNT, OPT_IN, REGION, instance_id, interruption_event, result_event, state_event
from tests.fakes.aws import AwsOverHttp, described, ok
from tests.lambdas import forget_parts, invoke, job_item, serve, start_cold, stream
from tests.rights.hostile import HOSTILE
from tests.rights.roles import BUCKET
from tests.statemachine.definitions import definition, states
from tests.unit.agent.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.fakes.aws import Call, Reply

every_hostile_text = pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
SHOWN = 8_000
"""No line of the story is longer, in bytes."""


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[AwsOverHttp]:
    """AWS for functions at their cold start."""
    aws = AwsOverHttp()
    aws.install(monkeypatch)
    start_cold(monkeypatch)
    yield aws
    forget_parts()


def told(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """Return the story's lines; each is one JSON object on one short line, and a terminal shows all of it as text."""
    found = capsys.readouterr().out.removesuffix("\n").split("\n")
    for line in found:
        assert line.isprintable(), line
        assert len(line.encode()) <= SHOWN
    read = [json.loads(line) for line in found]
    for line in read:
        assert all(character.isprintable() for character in line["message"]), line
    return read


def notice() -> Notice:
    """Return a warning of now."""
    return Notice(NoticeKind.INTERRUPTION, Action.TERMINATE, instance_id(), ACCOUNT, REGION, datetime.now(UTC), "e")


def tagged(tags: Mapping[str, str]) -> Reply:
    """Return EC2's answer about an instance that has these tags; XML has no control characters, so that EC2 returns none."""
    allowed = {key: re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f]", "?", value) for key, value in tags.items()}
    items = "".join(f"<item><key>{key}</key><value>{escape(value)}</value></item>" for key, value in allowed.items())
    answer = described([instance_id()])
    return replace(answer, body=re.sub(r"<tagSet>.*</tagSet>", lambda _: f"<tagSet>{items}</tagSet>", answer.body, flags=re.DOTALL))


# Events, tags and output, through the functions as they are deployed; one after the other in a warm environment


@pytest.mark.parametrize(
    ("name", "happened", "field"),
    [
        ("record_notice", interruption_event(), "instance-id"),
        ("record_notice", interruption_event(), "instance-action"),
        ("record_instance_state", state_event(), "instance-id"),
        ("record_instance_state", state_event(), "state"),
        ("record_checkpoint", result_event(), "command-id"),
        ("record_checkpoint", result_event(), "instance-id"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_hostile_event_is_refused(aws: AwsOverHttp, capsys: pytest.CaptureFixture[str], name: str, happened: dict[str, Any], field: str) -> None:
    """A field that has not the form that AWS gives it is told in one line, and nothing is called for it."""
    for text in HOSTILE.values():
        invoke(name, happened | {"detail": happened["detail"] | {field: text}})
    assert aws.calls == []
    assert [line["event"] for line in told(capsys)] == ["input_rejected"] * len(HOSTILE)


def test_hostile_tags_go_nowhere(aws: AwsOverHttp, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever an instance's name says, the command has instance, kind, action and deadline alone, in the document's own form."""
    for text in HOSTILE.values():
        aws.forget()
        warned = notice()
        serve(aws, [warned])
        aws.always("ec2:DescribeInstances", tagged({OPT_IN.key: OPT_IN.value, "Name": text}))
        invoke("respond_to_notices", stream([warned]))
        (sent,) = aws.of("ssm:SendCommand")
        (notices,) = sent.parameters["Parameters"]["Notices"]
        assert re.fullmatch(r"i-0{16}1:interruption:terminate:[0-9]{10}", notices)
        assert text not in json.dumps([call.parameters for call in aws.calls], ensure_ascii=False)
    told(capsys)


@pytest.mark.parametrize("key", [JOB_TAG, ATTEMPT_TAG, OPT_IN.key])
def test_hostile_tags_name_no_job(monkeypatch: pytest.MonkeyPatch, aws: AwsOverHttp, capsys: pytest.CaptureFixture[str], key: str) -> None:
    """A job's id or attempt that is none is no job's, and nothing is told to any; an opt-in tag with another value opts nobody in."""
    monkeypatch.setenv("JOBS_TABLE", "jobs")
    for text in HOSTILE.values():
        aws.forget()
        warned = notice()
        serve(aws, [warned])
        aws.always("ec2:DescribeInstances", tagged({OPT_IN.key: OPT_IN.value, JOB_TAG: "job", ATTEMPT_TAG: "1", key: text}))
        invoke("respond_to_notices", stream([warned]))
        assert aws.of("sfn:SendTaskSuccess") == []
        assert len(aws.of("ssm:SendCommand")) == (key != OPT_IN.key)
    told(capsys)


def test_forged_tags_end_nobody_elses_attempt(monkeypatch: pytest.MonkeyPatch, aws: AwsOverHttp, capsys: pytest.CaptureFixture[str]) -> None:
    """Who gives an instance of his own the tags of somebody else's job gets no token of that job sent: it runs on another instance."""
    monkeypatch.setenv("JOBS_TABLE", "jobs")
    warned = notice()
    serve(aws, [warned])
    read_notices = aws.standing["dynamodb:BatchGetItem"]
    assert callable(read_notices)
    job = job_item(f"job-{instance_id(2)}")
    aws.always("ec2:DescribeInstances", tagged({OPT_IN.key: OPT_IN.value, JOB_TAG: job["job_id"]["S"], ATTEMPT_TAG: "1"}))

    def read(call: Call) -> Reply:
        return ok(Responses={"jobs": [job]}) if "jobs" in call.parameters["RequestItems"] else read_notices(call)

    aws.always("dynamodb:BatchGetItem", read)
    invoke("respond_to_notices", stream([warned]))
    assert aws.of("sfn:SendTaskSuccess") == []
    assert any("the one that runs" in line["message"] for line in told(capsys))


def test_what_a_hook_prints_is_shown_as_text(aws: AwsOverHttp, capsys: pytest.CaptureFixture[str]) -> None:
    """The output of a checkpoint that failed is told in its line without control characters, and short."""
    old = Notice(NoticeKind.REBALANCE, Action.NONE, instance_id(), ACCOUNT, REGION, datetime(2026, 1, 1, tzinfo=UTC), "e")
    aws.always("dynamodb:Query", ok(Items=[to_item(old)]))
    aws.always("dynamodb:UpdateItem", ok())
    for text in HOSTILE.values():
        aws.always("ssm:GetCommandInvocation", ok(StatusDetails="Failed", ResponseCode=1, StandardErrorContent=text))
        invoke("record_checkpoint", result_event(status="Failed"))
    assert {line["outcome"] for line in told(capsys)} == {"failed"}


@every_hostile_text
def test_the_documents_parameter_takes_nothing_else(text: str) -> None:
    """SSM checks the document's one parameter against its pattern before anything runs; a word more, and it is refused."""
    pattern = yaml.safe_load(PATH.read_text())["parameters"]["Notices"]["allowedPattern"]
    good = "i-0123456789abcdef0:interruption:terminate:1795353863"
    assert re.search(pattern, good)
    for value in (text, f"{good}{text}", f"{text}{good}", f"{good} {text}", f"{good}\n{text}"):
        assert not re.search(pattern, value), value


# On the terminal of the person at the keyboard


def test_what_a_job_printed_is_shown_as_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A game day shows the cause of an execution, in which the end of a job's output is, so that no terminal acts on it."""
    monkeypatch.setattr("gameday.__main__.services_of", lambda _region: None)
    for text in HOSTILE.values():
        _say(text)

        def fails(_plan: object, _services: object, _say: object, what: str = text) -> None:
            raise Unmet(f"The job ended before an instance ran (FAILED): {what}.")

        monkeypatch.setattr("gameday.__main__.GameDay", fails)
        assert gameday(["interrupt", "--stack", "s", "--json", str(tmp_path / "out.json"), "--picture", str(tmp_path / "out.png")]) == 2
        written = capsys.readouterr()
        assert all(line.isprintable() for line in f"{written.out}{written.err}".split("\n"))
        assert "The job ended before" in written.err


# Job input


@cache
def expression(machine: str, state: str, variable: str) -> Jsonata:
    """Return the JSONata that a state of a definition assigns to a variable; ``$parse`` is Step Functions' own."""
    values: dict[str, object] = {"CheckpointBucket": BUCKET, "InstanceTypes": "m5.large"}
    assigned = states(definition(machine, defaultdict(lambda: 1, values)))[state]["Assign"][variable]
    read = Jsonata(assigned.removeprefix("{%").removesuffix("%}"))
    read.register_lambda("parse", json.loads)
    return read


def problem(given: Any) -> str:
    """Return what the state machine's first state finds wrong with an input."""
    read = expression("spot_job", "ReadInput", "problem")
    read.assign("states", {"input": given, "context": {"Execution": {"Name": "job"}}})
    return str(read.evaluate(None))


def test_a_good_input_is_good() -> None:
    """The check finds nothing in an input that is in order, whatever its command and its variables' values are."""
    given = {"JobId": "a-B_9", "JobDuration": "6", "Timeout": 0.5, "CheckpointUri": f"s3://{BUCKET}/a/b", "InstanceTypes": ["m5.large"]}
    for name, text in HOSTILE.items():
        is_refused = name in ("nul", "long")
        for chosen in ({"Command": text}, {"Environment": {"A": text}}):
            (key,) = chosen
            assert (f"{key}: expected" in problem({**given, **chosen})) == is_refused


@every_hostile_text
def test_hostile_input_is_refused(text: str) -> None:
    """Ids, numbers, types, names and places have to be such: the first state names the key that is wrong."""
    wrong: list[dict[str, Any]] = [
        {"JobId": text},
        {"JobDuration": text},
        {"Timeout": text},
        {"CheckpointUri": text},
        {"CheckpointUri": f"s3://{BUCKET}{text}"},
        {"InstanceTypes": [f"m5.large/{text}"]},
        {"Environment": {f"A-{text}": "1"}},
    ]
    for given in wrong:
        (key,) = given
        assert f"{key}: expected" in problem(given), given


@pytest.mark.parametrize("key", ["JobId", "CheckpointUri", "InstanceTypes", "Environment", "JobDuration"])
def test_a_newline_behind_is_seen(key: str) -> None:
    """A dollar in a regular expression lets a last newline pass, in Java as in Python; the definitions use none."""
    good: dict[str, Any] = {"JobId": "a", "CheckpointUri": f"s3://{BUCKET}/a", "InstanceTypes": ["m5.large"], "JobDuration": "6"}
    behind = {"InstanceTypes": ["m5.large\n"], "Environment": {"A\n": "1"}}
    assert problem(good) == ""
    assert problem({key: behind.get(key) or good[key] + "\n"}).startswith(f"{key}: expected")


@every_hostile_text
def test_the_end_of_a_stopped_execution_takes_hostile_input_for_nothing(text: str) -> None:
    """The state machine that cleans up finds the job's id as the job found it: what is none, is the execution's name."""
    read = expression("end_job", "ReadEvent", "jobId")
    for given in (json.dumps({"JobId": text}), json.dumps(text)):
        read.assign("states", {"input": {"detail": {"input": given, "name": "execution-1"}}})
        assert read.evaluate(None) == "execution-1"


# On the instance


@every_hostile_text
def test_a_variable_reaches_the_program_as_it_is(tmp_path: Path, text: str) -> None:
    """The value of a job's variable is expanded by nobody; one that no program can get is refused before anything starts."""
    place = Workplace(tmp_path / "work")
    place.prepare()
    heard = tmp_path / "heard"
    heard.touch()
    program = ChildProgram(place, {}, BytesIO())
    job = Job("job", command='printf %s "$A" >"$HEARD"', environment={"A": text, "HEARD": str(heard)})
    if "\0" in text:
        with pytest.raises(ValueError, match="null byte"):
            program.start(job, 1)
        return
    program.start(job, 1)
    while program.exit_status() is None:
        time.sleep(0.01)
    assert (program.exit_status(), heard.read_bytes().decode()) == (0, text)
    assert not Path("/tmp/owned").exists()  # noqa: S108  # what the texts would make


def test_an_attempt_fails_whose_program_cannot_be_started() -> None:
    """A command that no shell can get fails the attempt with a reason; the agent goes on, so that it can say so."""
    world = World()
    world.attempts_allowed = 1
    instance = world.launch()

    def start(_job: Job, _attempt: int) -> None:
        raise ValueError("embedded null byte")

    instance.program.start = start  # type: ignore[method-assign]
    world.run(lambda now: now.result is not None)
    assert world.result is not None
    assert world.result["result"] == "failed"
    assert "embedded null byte" in str(world.result["cause"])


def archive(*members: tuple[str, str | bytes]) -> bytes:
    """Return a tar archive: a member is a file with content, a symbolic link to a path, or, with "=" before it, a hard link."""
    written = BytesIO()
    with tarfile.open(fileobj=written, mode="w") as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            if isinstance(content, str):
                member.type, member.linkname = (tarfile.LNKTYPE if content.startswith("=") else tarfile.SYMTYPE), content.removeprefix("=")
                tar.addfile(member)
            else:
                member.size = len(content)
                tar.addfile(member, BytesIO(content))
    return written.getvalue()


@pytest.mark.parametrize(
    "members",
    [
        [("../owned", b"x")],
        [("/tmp/owned", b"x")],  # noqa: S108  # where the archive wants to write
        [("way", "{outside}"), ("way/owned", b"x")],
        [("a/way", "{outside}"), ("a/way/deeper/owned", b"x")],
        [("./way", "{outside}"), ("way/./owned", b"x")],
        [("way", "{outside}/there"), ("way", b"x")],
        [("way", "=../../../outside/there"), ("way", b"x")],
        [("link", "{outside}"), ("way", "=link/there"), ("more", b"x")],
    ],
    ids=["up", "root", "link", "link in a folder", "link by another name", "through a link", "hard link", "hard link by a link"],
)
def test_an_archive_writes_nothing_outside(tmp_path: Path, members: list[tuple[str, str | bytes]]) -> None:
    """A checkpoint that was forged, by another job's instance perhaps, is refused where a name leads out of the directory, by a link too."""
    place, outside = Workplace(tmp_path / "work"), tmp_path / "outside"
    place.prepare()
    outside.mkdir()
    (outside / "there").write_text("untouched")
    told = [(name, content.format(outside=outside) if isinstance(content, str) else content) for name, content in members]
    (tmp_path / "forged.tar").write_bytes(archive(*told))
    with pytest.raises(Unusable):
        place.unpack(tmp_path / "forged.tar")
    assert {file.name: file.read_text() for file in outside.iterdir()} == {"there": "untouched"}


def test_links_that_a_program_made_come_back(tmp_path: Path) -> None:
    """A program's own links, out of the directory too, are kept: they are its work."""
    place = Workplace(tmp_path / "work")
    place.prepare()
    (place.checkpoint / "link").symlink_to("/etc/hostname")
    (place.checkpoint / "folder").mkdir()
    (place.checkpoint / "folder" / "file").write_text("x")
    (place.checkpoint / "folder" / "again").hardlink_to(place.checkpoint / "folder" / "file")
    made = place.archive("made")
    place.start_empty()
    place.unpack(made.path)
    assert (place.checkpoint / "link").readlink() == Path("/etc/hostname")
    assert (place.checkpoint / "folder" / "file").read_text() == (place.checkpoint / "folder" / "again").read_text() == "x"
