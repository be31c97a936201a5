"""Text encoder of the small model: word vectors that come inside a Python package, so that nothing is downloaded.

WordLlama (Miller 2024, MIT licence; package ``wordllama``, extra ``text``) holds 256-channel vectors of 32000 word
pieces, distilled from the token tables of large language models; a phrase is the mean of its pieces. It knows language
only and was trained on no image: it is not CLIP. What ties its vectors to pixels is training on labels (see
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
    """Words to unit vectors, on the CPU, offline. A `uni3r.semantics.text_encoder.TextEncoder`."""

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
        # One at a time: a batch is padded, which changes the last bits of the mean.
        rows = [self._model.embed(prompt.lower().strip())[0] for prompt in prompts]
        return normalize(torch.stack([torch.from_numpy(row) for row in rows]), dim=-1)


def _load() -> Any:
    with _logging_untouched():
        try:
            import wordllama
        except ImportError as error:
            raise ImportError("word vectors need the package wordllama: pip install 'slam3r-uni3r[text]'") from error
        # Its own search looks into a folder "tokenizer" while the package ships "tokenizers": named as the cache, the
        # package's folder is searched under the right name.
        return wordllama.WordLlama.load(cache_dir=Path(wordllama.__file__).parent, disable_download=True)


@contextmanager
def _logging_untouched() -> Iterator[None]:
    """The package configures the root logger when it is imported; a library must not."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    try:
        yield
    finally:
        root.setLevel(level)
        root.handlers[:] = handlers
