"""Saving and restoring real programs."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from spot_agent.errors import NotSaved, Unusable
from spot_agent.job import Checkpoint
from spot_agent.knowledge import Do, Saved
from spot_agent.ports import EndedByItself, Restored
from tests.unit.agent.real import Site, children, eventually, is_alive

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spot_agent.ports import Outcome

EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A place of work that leaves nothing behind."""
    site = Site(tmp_path / "work")
    yield site
    site.end()


def restored(site: Site, newest: Checkpoint | None, before: Checkpoint | None = None) -> Restored:
    """Restore, which must go well."""
    outcome = site.restore(newest, before)
    assert isinstance(outcome, Restored), outcome
    return outcome


def taken_over(site: Site, tmp_path: Path, checkpoint: Checkpoint | None, command: str, **environment: str) -> Site:
    """Restore a checkpoint on another instance and go on there."""
    other = Site(tmp_path / "other")
    other.store = site.store
    other.keeper._store = site.store  # type: ignore[assignment]  # a fake
    assert restored(other, checkpoint).checkpoint == checkpoint
    other.start(command, **environment)
    return other


@pytest.mark.parametrize(
    ("command", "environment", "result", "expected"),
    [
        (f"exec sh {EXAMPLES}/count.sh", {"COUNT_TO": "40", "STEP_SECONDS": "0.02"}, "count", "40"),
        (f"exec python3 {EXAMPLES}/sum.py", {"SUM_TO": "1500000"}, "sum.json", '"sum": 1124999250000'),
        (f"exec sh {EXAMPLES}/append.sh", {"RESULTS": "40", "STEP_SECONDS": "0.02"}, "result-40", "result 40"),
    ],
)
def test_documented_examples_survive_a_hand_over(
    site: Site, tmp_path: Path, command: str, environment: dict[str, str], result: str, expected: str
) -> None:
    """Each example of the contract: saved while it runs, handed over, it goes on elsewhere from there and gets the right result."""
    site.start(command, **environment)
    eventually(lambda: (site.program.percent() or 0) >= 10)
    assert site.saved(Do.SAVE).checkpoint is not None
    eventually(lambda: (site.program.percent() or 0) >= 30)
    final = site.saved(Do.SAVE_FINAL)
    assert final.checkpoint is not None
    assert 25 <= final.checkpoint.percent < 100
    other = taken_over(site, tmp_path, final.checkpoint, command, **environment)
    try:
        eventually(lambda: other.program.exit_status() is not None)
        assert other.program.exit_status() == 0
        assert expected in (other.workplace.checkpoint / result).read_text()
    finally:
        other.end()


def test_demo_job_does_no_work_twice(site: Site, tmp_path: Path) -> None:
    """The demonstration job goes on, to a hundredth of a percent, where it was handed over, and finishes with 100 %."""
    environment = {"SPOT_JOB_MINUTES": "0.03"}
    site.start("", **environment)
    site.wait_for_signals()
    eventually(lambda: (site.program.percent() or 0) > 20)
    final = site.saved(Do.SAVE_FINAL)
    assert final.checkpoint is not None
    other = taken_over(site, tmp_path, final.checkpoint, "", **environment)
    try:
        eventually(lambda: other.program.percent() is not None)
        assert other.program.percent() == pytest.approx(final.checkpoint.percent, abs=10)
        assert (other.program.percent() or 0) >= final.checkpoint.percent - 0.01
        eventually(lambda: other.program.exit_status() == 0)
        assert other.program.percent() == 100
    finally:
        other.end()


def test_program_without_ready_file_is_never_signalled(site: Site) -> None:
    """A program that did not ask for signals gets none while it works, though it would die of them."""
    site.start("echo 1 >state; while :; do sleep 0.01; done")
    eventually((site.workplace.checkpoint / "state").exists)
    assert site.saved(Do.SAVE).checkpoint is not None
    assert site.program.exit_status() is None


WRITER = """
import itertools, pathlib
for i in itertools.count():
    pathlib.Path("a").write_text(f"{i:09d}")
    pathlib.Path("z").write_text(f"{i:09d}")
"""


def test_directory_is_of_one_moment(site: Site) -> None:
    """The program stands still while its directory is archived: the first and the last file in it are of the same moment."""
    for number in range(500):
        (site.workplace.checkpoint / f"m{number}").write_text("between the two")
    site.start(f"exec python3 -c '{WRITER}'")
    eventually((site.workplace.checkpoint / "z").exists)
    saved = site.saved(Do.SAVE).checkpoint
    site.end()
    restored(site, saved)
    a, z = ((site.workplace.checkpoint / name).read_text() for name in "az")
    # Whole, or caught between opening and writing.
    assert "" in (a, z) or 0 <= int(a) - int(z) <= 1


def test_each_save_is_a_new_one(site: Site) -> None:
    """What the program said of an earlier save is not taken for the answer to a later one."""
    site.start(
        "trap 'sleep 0.1; n=$((n+1)); echo $n >state; echo $n >$SPOT_SAVED_FILE' USR1; n=0; echo $$ >$SPOT_READY_FILE; while :; do sleep 0.01; done"
    )
    site.wait_for_signals()
    first, second = site.saved(Do.SAVE).checkpoint, site.saved(Do.SAVE).checkpoint
    assert first is not None
    assert second is not None
    assert (first.percent, second.percent) == (1.0, 2.0)


def test_everything_has_ended_after_the_final_checkpoint(site: Site) -> None:
    """The final checkpoint leaves no process of the program behind, children that it started included."""
    site.start("sleep 60 & sleep 60 & echo 1 >state; wait")
    eventually((site.workplace.checkpoint / "state").exists)
    process = site.program._process
    assert process is not None
    site.saved(Do.SAVE_FINAL)
    eventually(lambda: children(process.pid) == [])


def test_program_that_ignores_sigterm_is_killed_and_saves_nothing(site: Site) -> None:
    """A program that promised to save and exit and does not: killed in time, no checkpoint, and a sentence that says so."""
    site.start("trap '' TERM; echo $$ >$SPOT_READY_FILE; while :; do sleep 0.01; done")
    site.wait_for_signals()
    began = time.time()
    outcome = site.save(Do.SAVE_FINAL, kill_after=0.6)
    assert time.time() - began < 3
    assert getattr(outcome, "checkpoint", "?") is None
    assert "did not exit after SIGTERM" in getattr(outcome, "note", "")
    assert site.store.objects == {}
    eventually(lambda: site.program.exit_status() == 137)


def test_program_that_does_not_answer_sigusr1_loses_that_checkpoint_only(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that does not touch SPOT_SAVED_FILE: no checkpoint this time; it works on."""
    monkeypatch.setattr("spot_agent.keeper.SAVE_PATIENCE_SECONDS", 0.2)
    site.start("trap '' USR1; echo $$ >$SPOT_READY_FILE; while :; do sleep 0.01; done")
    site.wait_for_signals()
    outcome = site.save(Do.SAVE)
    assert isinstance(outcome, NotSaved)
    assert "SPOT_SAVED_FILE" in str(outcome)
    assert site.program.exit_status() is None


def test_final_save_overtakes_one_that_waits_for_the_program(site: Site) -> None:
    """A save that still waits for a program which does not answer SIGUSR1 gives way to the final one."""
    site.start("trap '' USR1; trap 'echo 5 >state; exit 143' TERM; echo $$ >$SPOT_READY_FILE; while :; do sleep 0.01; done")
    site.wait_for_signals()
    site.keeper.save(1, Do.SAVE, site.job, 0.0)
    site.keeper.save(2, Do.SAVE_FINAL, site.job, time.time() + 5)
    outcomes: dict[int, Outcome] = {}

    def are_over() -> bool:
        outcomes.update(site.keeper.outcomes())
        return len(outcomes) == 2

    eventually(are_over)
    assert isinstance(outcomes[1], NotSaved)
    final = outcomes[2]
    assert isinstance(final, Saved)
    assert final.checkpoint is not None


def test_foreign_process_is_never_signalled(site: Site) -> None:
    """A ready file that names a process which is not the program's own is not believed."""
    site.start("sleep 60")
    site.program.ready_file.write_text(str(os.getppid()))
    assert not site.program.can_save


def test_finished_program_is_not_taken_for_handed_over(site: Site) -> None:
    """A program that ended with 0 just before the hand-over has finished the job."""
    site.start("exit 0")
    eventually(lambda: site.program.exit_status() == 0)
    assert isinstance(site.save(Do.SAVE_FINAL), EndedByItself)


def test_crashed_program_leaves_the_last_good_checkpoint(site: Site) -> None:
    """A program that crashed just before the hand-over: what it left is not taken for a checkpoint."""
    site.start("exit 7")
    eventually(lambda: site.program.exit_status() == 7)
    outcome = site.save(Do.SAVE_FINAL)
    assert getattr(outcome, "checkpoint", "?") is None
    assert "exit status 7" in getattr(outcome, "note", "")


def test_store_out_of_reach_is_tried_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that cannot be reached is tried again until it can; the program works meanwhile."""
    monkeypatch.setattr("spot_agent.keeper.FIRST_RETRY_SECONDS", 0.01)
    site.store.failures = 3
    site.start("sleep 60")
    assert site.saved(Do.SAVE).checkpoint is not None
    assert site.program.exit_status() is None


def test_damaged_checkpoint_is_passed_over(site: Site) -> None:
    """A checkpoint that is not what was saved: the one before it is restored, and the fault is named."""
    site.start("echo first >state; sleep 60")
    eventually((site.workplace.checkpoint / "state").exists)
    first = site.saved(Do.SAVE).checkpoint
    second = site.saved(Do.SAVE).checkpoint
    assert first is not None
    assert second is not None
    site.store.objects[second.key] = b"half"
    outcome = restored(site, second, first)
    assert outcome.checkpoint == first
    assert second.key in outcome.faults[0]
    assert (site.workplace.checkpoint / "state").read_text() == "first\n"


def test_archive_with_the_right_size_but_no_archive(site: Site) -> None:
    """Bytes that are no archive are as unusable as a wrong checksum, and leave the directory empty where there is no other."""
    site.store.objects["x"] = b"not a tar archive"
    outcome = restored(site, Checkpoint("x", "sha", 1.0, 17, 0.0))
    assert outcome.checkpoint is None
    assert "not an archive" in outcome.faults[0]
    assert list(site.workplace.checkpoint.iterdir()) == []


def test_full_disk_is_a_failure_with_a_sentence(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the operating system refuses is the reason of a failed restore, and no crash of the agent."""

    def refuse(_path: Path) -> None:
        raise OSError(28, "No space left on device")

    site.store.objects["x"] = b"0"
    monkeypatch.setattr(site.workplace, "unpack", refuse)
    outcome = site.restore(Checkpoint("x", "sha", 1.0, 1, 0.0))
    assert isinstance(outcome, NotSaved)
    assert "No space left on device" in str(outcome)


def test_archive_cannot_reach_outside(site: Site, tmp_path: Path) -> None:
    """An archive with a name that leads out of the directory is refused whole."""
    import tarfile  # noqa: PLC0415  # this test alone

    evil = tmp_path / "evil.tar"
    with tarfile.open(evil, "w") as tar:
        tar.add(__file__, arcname="../outside")
    with pytest.raises(Unusable, match="outside"):
        site.workplace.unpack(evil)
    assert not (tmp_path / "work" / "outside").exists()


def test_modes_links_and_empty_folders_survive(site: Site) -> None:
    """What the program finds after a restore is what it had: modes, symbolic links, empty folders."""
    folder = site.workplace.checkpoint
    (folder / "run").write_text("#!/bin/sh\n")
    (folder / "run").chmod(0o750)
    (folder / "link").symlink_to("/etc/hostname")
    (folder / "empty").mkdir()
    archive = site.workplace.archive("a.tar")
    site.workplace.start_empty()
    site.workplace.unpack(archive.path)
    assert (folder / "run").stat().st_mode & 0o777 == 0o750
    assert (folder / "link").readlink() == Path("/etc/hostname")
    assert (folder / "empty").is_dir()


def test_prefetched_checkpoint_is_not_fetched_again(site: Site) -> None:
    """A checkpoint that was fetched while waiting is restored without the store."""
    site.start("echo here >state; sleep 60")
    eventually((site.workplace.checkpoint / "state").exists)
    saved = site.saved(Do.SAVE).checkpoint
    assert saved is not None
    site.keeper.prefetch(100, saved, site.job)
    site.outcome()
    site.store.objects.clear()
    assert restored(site, saved).checkpoint == saved


def test_output_is_kept_and_passed_on(site: Site) -> None:
    """The last 50 lines of the program's output are kept, standard error included; all of it is passed on."""
    site.start("i=0; while [ $i -lt 60 ]; do i=$((i+1)); echo line $i; done; echo oops >&2; exit 3")
    eventually(lambda: site.program.exit_status() == 3)
    lines = site.program.last_lines()
    assert len(lines) == 50
    assert lines[-2:] == ["line 60", "oops"]
    assert site.output.getvalue().startswith(b"line 1\n")


def test_environment_of_the_contract(site: Site) -> None:
    """The job's own environment reaches the program, and cannot replace the contract's variables."""
    site.start('echo "$SPOT_JOB_ID $SPOT_ATTEMPT $MINE $PWD"; exit 0', MINE="yes", SPOT_JOB_ID="forged")
    eventually(lambda: site.program.exit_status() == 0)
    assert site.program.last_lines() == [f"job 1 yes {site.workplace.checkpoint}"]


def test_agents_own_environment_stays_its_own(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the agent's service needs does not reach the program, where it could only confuse; everything else does."""
    monkeypatch.setenv("PYTHONPATH", "/opt/spot-responder/agent/python")
    monkeypatch.setenv("SPOT_RESPONDER_HOME", "/opt/spot-responder")
    monkeypatch.setenv("SOMEBODY_ELSES", "kept")
    site.start('echo "${PYTHONPATH-none} ${SPOT_RESPONDER_HOME-none} $SOMEBODY_ELSES $AGAIN"; exit 0', AGAIN="$HOME")
    eventually(lambda: site.program.exit_status() == 0)
    assert site.program.last_lines() == ["none none kept $HOME"]


@pytest.mark.skipif(not Path("/proc/self/oom_score_adj").exists(), reason="a kernel without /proc")
def test_program_is_the_first_to_die_where_memory_runs_out(site: Site) -> None:
    """The program, and what it starts, is ended rather than the agent, which then tells of it; quotes in its command stay what they are."""
    site.start("""cat /proc/self/oom_score_adj; echo "it's"; exit 0""")
    eventually(lambda: site.program.exit_status() == 0)
    assert site.program.last_lines() == ["500", "it's"]
    assert Path("/proc/self/oom_score_adj").read_text() != "500\n"


@pytest.mark.parametrize(("text", "percent"), [("42.5\n", 42.5), ("-3", 0.0), ("250", 100.0), ("nan", None), ("half", None), ("", None)])
def test_progress_file(site: Site, text: str, percent: float | None) -> None:
    """The progress file counts within 0 and 100; what is no number counts as nothing."""
    site.program.progress_file.write_text(text)
    assert site.program.percent() == percent


def test_kill_before_any_start(site: Site) -> None:
    """Ending a program that never started is no trouble."""
    site.program.kill()
    assert site.program.exit_status() is None


def test_result_is_100_percent(site: Site) -> None:
    """The result of a finished program is saved as 100 %, whatever it last reported."""
    site.start("echo 90 >$SPOT_PROGRESS_FILE; exit 0")
    eventually(lambda: site.program.exit_status() == 0)
    saved = site.saved(Do.SAVE_RESULT).checkpoint
    assert saved is not None
    assert saved == replace(saved, percent=100.0)


def test_killed_program_is_gone(site: Site) -> None:
    """Killing ends the whole group at once."""
    site.start("sleep 60 & wait")
    process = site.program._process
    assert process is not None
    site.program.kill()
    eventually(lambda: not is_alive(process.pid) or site.program.exit_status() == 137)
