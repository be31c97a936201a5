"""The program ``slam3r`` and its commands."""

from __future__ import annotations

from common.command.program import Entry, run_program

COMMANDS = {
    "reconstruct": Entry("slam3r.command.verbs.RECONSTRUCT", "photographs or a video to points, cameras and depth"),
    "live": Entry("slam3r.command.verbs.LIVE", "the map grows while a camera or a stream goes on"),
    "localize": Entry("slam3r.command.verbs.LOCALIZE", "poses of new pictures in a finished run"),
    "extend": Entry("slam3r.command.verbs.EXTEND", "more pictures into the world of a finished run"),
    "merge": Entry("slam3r.command.verbs.MERGE", "two finished runs into one"),
    "replay": Entry("slam3r.command.verbs.REPLAY", "a finished run as a film, a picture, a recording, or in a window"),
    "view": Entry("slam3r.command.verbs.VIEW", "a finished run in the browser, without a model"),
    "app": Entry("common.command.verbs.APP", "SLAM3R and Uni3R in the browser"),
    "serve": Entry("slam3r.command.verbs.SERVE", "frames from RabbitMQ in; poses, points and meshes out"),
    "evaluate": Entry("slam3r.command.verbs.EVALUATE", "scores on a benchmark, or two runs side by side"),
    "train": Entry("slam3r.command.verbs.TRAIN", "the published recipes and ours"),
    "profile": Entry("slam3r.command.verbs.PROFILE", "where the time goes on this machine"),
    "doctor": Entry("common.command.doctor.main.main", "what is here, what will be slow, what is missing"),
}
"""Command -> what runs it. A further command is a further line."""


def main() -> None:
    """Run the command that the command line names."""
    run_program("slam3r", COMMANDS)
