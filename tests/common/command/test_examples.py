"""The examples on a command's help page run a file that is here."""

from __future__ import annotations

import shlex

import pytest

from common.command.help_page import help_page
from common.command.verb import Verb
from tests.support.configs import VERBS
from tests.support.paths import ROOT


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_examples_run_a_script(verb: Verb) -> None:
    verb.register()
    page = help_page(verb)
    for example in verb.examples:
        words = [word for word in shlex.split(example) if not word.startswith("RABBITMQ_URL=")]
        assert words[0] in ("python", "bash") and (ROOT / words[1]).is_file(), example
        assert example in page
