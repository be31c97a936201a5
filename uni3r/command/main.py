"""The program ``uni3r`` and its commands."""

from __future__ import annotations

from common.command.program import Entry, run_program

COMMANDS = {
    "render": Entry("uni3r.command.verbs.RENDER", "a few pictures to semantic Gaussians, films and word maps"),
    "evaluate": Entry("uni3r.command.verbs.EVALUATE", "scores on a benchmark, or two runs side by side"),
    "train": Entry("uni3r.command.verbs.TRAIN", "the published recipes and ours"),
    "convert": Entry("uni3r.command.verbs.CONVERT", "released files to safetensors"),
}
"""Command -> what runs it. A further command is a further line."""


def main() -> None:
    """Run the command that the command line names."""
    run_program("uni3r", COMMANDS)
