"""`ccnet-train compare`: several runs beside one another."""

import argparse
import json
from pathlib import Path

from ccnet_core import files

CAUTION = (
    "The intervals are over pictures: how far other pictures of the same kind would move the scores. They are too "
    "narrow where pictures resemble one another, as the frames of a video do. What training with another seed would "
    "change is not in them; to see it, repeat a recipe with several seeds."
)


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Describe the command."""
    parser = commands.add_parser(
        "compare",
        help="compare runs picture by picture, with intervals",
        description="Compare each run with the first one, on the same pictures. Runs of one recipe with several seeds "
        f"are also compared as groups. {CAUTION}",
    )
    parser.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN", help="folder of a run, whose best/ counts, or of an evaluation"
    )
    parser.add_argument("--classes", action="store_true", help="also the difference of each class")
    parser.add_argument("--out", type=Path, metavar="FILE.png", help="draw intervals and learning curves")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers, from 0 to 1")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print the tables, and write what is asked for."""
    from ccnet_train import comparison, comparison_text
    from ccnet_train.compared_run import read_runs

    runs = read_runs(options.runs)
    rows, groups, notes = comparison.rows(runs), comparison.groups(runs), comparison.notes(runs)
    print(comparison_text.table(rows, groups))
    if len(groups) < len(runs):
        print(f"\n{comparison_text.group_table(groups)}")
    if options.classes:
        print(f"\n{comparison_text.class_tables(rows)}")
    for note in (*notes, CAUTION):
        print(f"\n{note}")
    if options.json:
        content = comparison_text.plain(rows, groups, notes)
        files.write_text(options.json, json.dumps(content, indent=1) + "\n")
    if options.out:
        from ccnet_train.comparison_picture import comparison_png

        files.write_bytes(options.out, comparison_png(rows))
