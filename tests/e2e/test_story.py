"""The deployed story, from the warning to the end of the instance, for one instance of each sort."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.e2e.deployment import Act, Deployed


def test_notice_asked_saved_gone(act: Act) -> None:
    """An opted-in instance's story is four lines: notice, checkpoint asked, saved, gone."""
    told = [(line["event"], line["outcome"]) for line in act.lines("plain")]
    assert told == [("notice_received", None), ("checkpoint_asked", None), ("notice_closed", "saved"), ("instance_gone", None)]


def test_messages_are_plain_words(act: Act) -> None:
    """Each message names the instance and says in plain words what happened."""
    messages = [line["message"].removeprefix(f"{act.instance_ids['plain']}: ") for line in act.lines("plain")]
    assert [message.split(",")[0] for message in messages] == ["interruption warning", "checkpoint asked", "checkpoint saved", "terminated"]


def test_lines_share_their_fields(act: Act) -> None:
    """Every line is JSON with the same field names, whatever it tells."""
    assert act.story.lines
    assert {tuple(line.fields) for line in act.story.lines} == {tuple(act.story.lines[0].fields)}
    assert "seconds_left" in act.story.lines[0].fields


def test_nothing_but_the_story(act: Act) -> None:
    """No START, END or REPORT, no metric blobs and no debug lines stand between the lines of the story."""
    events = {"notice_received", "notice_repeated", "checkpoint_asked", "notice_closed", "instance_gone", "result_unclaimed"}
    assert {line.fields.get("event") for line in act.story.lines} <= events


def test_work_is_saved(act: Act, deployed: Deployed) -> None:
    """What the story calls saved is on the volume, written by that instance's hook for this kind of notice."""
    saved = [json.loads(file.read_text()) for file in deployed.fleet.volume.glob("*.json")]
    assert {"plain", "twice"} <= {sort for sort, instance_id in act.instance_ids.items() if any(s["instance"] == instance_id for s in saved)}
    assert {s["kind"] for s in saved if s["instance"] == act.instance_ids["plain"]} == {"interruption"}


def test_duplicate(act: Act) -> None:
    """A notice delivered twice is told as repeated and leads to one command and one outcome."""
    assert len(act.lines("twice", event="notice_received")) == 1
    assert len(act.lines("twice", event="notice_repeated")) == 1
    assert len(act.lines("twice", event="checkpoint_asked")) == 1
    assert len(act.lines("twice", event="notice_closed", outcome="saved")) == 1


def test_unknown_id_vanished(act: Act) -> None:
    """An id that EC2 does not know has the outcome vanished, and the others have theirs."""
    assert len(act.lines("unknown", event="notice_closed", outcome="vanished")) == 1
    assert not act.lines("unknown", event="checkpoint_asked")


def test_not_opted_in(act: Act) -> None:
    """An instance without the opt-in tag is logged and left alone."""
    [closed] = act.lines("not opted in", event="notice_closed")
    assert closed["outcome"] == "not opted in"
    assert "spot-responder:checkpoint=enabled" in closed["reason"]
    assert not act.lines("not opted in", event="checkpoint_asked")


def test_not_managed(act: Act) -> None:
    """An instance that SSM does not manage fails with SSM's reason."""
    [closed] = act.lines("not managed", event="notice_closed")
    assert closed["outcome"] == "failed"
    assert "SSM does not manage this instance" in closed["reason"]


def test_one_command_for_the_others(act: Act) -> None:
    """An instance that SSM does not manage costs the others nothing: all of them are asked."""
    assert all(len(act.lines(sort, event="checkpoint_asked")) == 1 for sort in ("plain", "twice", "failing", "endless"))


def test_stopped(act: Act) -> None:
    """An instance that is to be stopped saves its work like one that is to be terminated; its story ends with stopped."""
    [closed], [gone] = act.lines("stopped", event="notice_closed"), act.lines("stopped", event="instance_gone")
    assert (closed["action"], closed["outcome"], gone["reason"]) == ("stop", "saved", "stopped")


def test_failing_hook(act: Act) -> None:
    """A hook that fails: the outcome is failed, with its exit status and the last lines of its output."""
    [closed] = act.lines("failing", event="notice_closed")
    assert closed["outcome"] == "failed"
    assert closed["reason"].startswith("exit status 28: ")
    assert "no space left on the volume" in closed["reason"]


def test_hook_that_outlasts_the_instance(act: Act) -> None:
    """A checkpoint that is not done when the instance ends is missed."""
    [closed] = act.lines("endless", event="notice_closed")
    assert closed["outcome"] == "missed"


@pytest.mark.parametrize("sort", ["plain", "twice", "stopped", "failing", "endless", "not opted in", "not managed", "unknown"])
def test_table_is_the_record(act: Act, deployed: Deployed, sort: str) -> None:
    """The item of each notice has the outcome and the reason that the story tells."""
    [item] = deployed.items(act.instance_ids[sort])
    [closed] = act.lines(sort, event="notice_closed")
    assert (item["outcome"]["S"], item["reason"]["S"]) == (closed["outcome"], closed["reason"])


def test_nothing_is_lost(act: Act, deployed: Deployed) -> None:
    """Nothing of all that is a dead letter."""
    assert act.story.lines
    assert deployed.dead_letters() == 0
