"""What a person sees while the demonstration runs: steps that say how far they are, the story's lines, the table."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from sandbox.demo.figures import Record, counted, reasons
from sandbox.story import Line

COLOURS = {
    "notice_received": "cyan",
    "notice_repeated": "magenta",
    "checkpoint_asked": "blue",
    "instance_gone": "dim",
    "input_rejected": "red",
}
FILE_WIDTH = 150
OUTCOME_COLOURS = {"saved": "green", "failed": "red", "missed": "red", "late": "red"}


class Screen:
    """The terminal, or a file: colours and lines that update only where somebody looks."""

    def __init__(self, console: Console | None = None) -> None:
        """Write to `console`, by default to standard output."""
        self.console = console or Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else FILE_WIDTH)

    @contextmanager
    def step(self, doing: str, done: str) -> Iterator[Callable[[str], None]]:
        """Show that something is under way and how far it is; leave one line when it is done."""
        began = time.monotonic()
        if not self.console.is_terminal:
            self.console.print(f"  {escape(doing)} ...")
        with self.console.status(escape(doing)) as status:
            yield lambda detail: status.update(f"{escape(doing)} [dim]{escape(detail)}[/dim]")
        self.console.print(f"[green]✓[/green] {escape(done)} [dim]({time.monotonic() - began:.0f} s)[/dim]")

    def say(self, sentence: str) -> None:
        """Write a sentence."""
        self.console.print(escape(sentence))

    def complain(self, sentence: str) -> None:
        """Write a sentence about something that does not hold."""
        self.console.print(f"[red]✗[/red] {escape(sentence)}")

    def line(self, line: Line) -> None:
        """Write a line of the story: its time and its message."""
        colour = OUTCOME_COLOURS.get(line.fields.get("outcome") or "", COLOURS.get(line.fields.get("event", ""), "default"))
        text = Text(f"{line.time.astimezone():%H:%M:%S.%f}"[:-3], style="dim")
        self.console.print(text.append(f"  {line.fields.get('message', line.text)}", style=colour))

    def table(self, record: Record) -> None:
        """Write the figures."""
        table = Table(title="What happened", title_justify="left", show_header=False, box=None, padding=(0, 2))
        table.add_column(style="bold")
        table.add_column(justify="right")
        table.add_column()
        for what, number, remark in _rows(record):
            table.add_row(what, number, escape(remark))
        self.console.print()
        self.console.print(table)
        self.console.print()


def _rows(record: Record) -> Iterator[tuple[str, str, str]]:
    figures = counted(record)
    yield "Notices", str(figures["notices"]), "each recorded once"
    yield "Duplicates", str(figures["duplicates"]), "recognized; nothing was done twice"
    for outcome, number in figures["outcomes"].items():
        yield from _outcome_rows(record, outcome, number)
    for call, number in figures["calls"].items():
        yield call, str(number), "API calls by the stack's functions" if call == next(iter(figures["calls"])) else ""
    seconds = figures["event_to_command_seconds"]
    yield "Seconds to the command", f"{seconds['median']}", "median, from the event's own time (whole seconds)"
    yield "", f"{seconds['worst']}", "worst"


def _outcome_rows(record: Record, outcome: str, number: int) -> Iterator[tuple[str, str, str]]:
    """An outcome, with the reasons where somebody should know them."""
    label = f"Checkpoints {outcome}" if outcome in {"saved", "failed", "missed"} else outcome.capitalize()
    if outcome == "saved":
        yield label, str(number), f"{len(record.frames)} instances have theirs on the volume"
        return
    if number == 0:
        yield label, "0", ""
    for index, (reason, times) in enumerate(reasons(record.items, outcome).items()):
        yield "" if index else label, str(times), reason
