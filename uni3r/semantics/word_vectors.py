"""Text encoder of the small model: word vectors that ship with a Python package, so that nothing is downloaded.

WordLlama (Miller 2024, MIT licence; package ``wordllama``, extra ``text``) holds 256-channel vectors of 32000 word
pieces, distilled from the token tables of large language models; a phrase is the mean of its pieces. It was
trained on text only, not on images as CLIP is. Training on labels connects its vectors to pixels (see
`uni3r.semantics.label_teacher`, which also says how they fit into the few channels of a small model).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize


class WordVectors:
    """Text encoder (`uni3r.semantics.text_encoder.TextEncoder`) that runs on the CPU, offline."""

    def __init__(self) -> None:
        """
        Raises:
            ImportError: naming the extra to install.
        """
        self._model = _load()

    @property
    def width(self) -> int:
        """C, channels of a vector."""
        return self._model.embedding.shape[1]

    def __call__(self, prompts: Sequence[str]) -> Tensor:
        """(P, C) float32 unit vectors of P words or phrases; case does not matter."""
        # One at a time: padding in a batch would change the last bits of the mean.
        rows = [self._model.embed(prompt.lower().strip())[0] for prompt in prompts]
        return normalize(torch.stack([torch.from_numpy(row) for row in rows]), dim=-1)


def _load() -> Any:
    with _logging_untouched():
        try:
            import wordllama
        except ImportError as error:
            raise ImportError("word vectors need the package wordllama: bash scripts/setup.sh text") from error
        # The package searches a folder "tokenizer" but ships "tokenizers"; with its own folder as cache directory, it
        # searches under the right name.
        return wordllama.WordLlama.load(cache_dir=Path(wordllama.__file__).parent, disable_download=True)


@contextmanager
def _logging_untouched() -> Iterator[None]:
    """Undo the changes that importing the package makes to the root logger."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    try:
        yield
    finally:
        root.setLevel(level)
        root.handlers[:] = handlers
