"""CLIP's text tower (Radford et al. 2021), ViT-B/32 as published by OpenAI: the text side of LSeg and Uni3R.

Layers and byte-pair tokenizer are those of ``open_clip`` (extra ``uni3r``), which ships the vocabulary inside its
package. Only the text tower is built: 63 M parameters in place of 151 M. Published code runs it in half precision; here
it runs in the type of its weights, float32 unless converted.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from common.checkpoints.families.lseg import LSEG_TEXT
from common.checkpoints.reading import read_state_dict
from common.errors import CheckpointError
from common.paths import user_path
from uni3r.semantics.lseg_checkpoint import fill_strictly, read_lseg
from uni3r.semantics.text_encoder import BARE_WORD, Words, embed_words

OPENAI = "openai"
"""Source: OpenAI's weights from the hub, as open_clip finds them there."""
_ARCHITECTURE = "ViT-B-32-quickgelu"
_HEAD_DIM = 64  # channels per attention head; not visible in the shapes
_PASSED_OVER = ("visual.", "logit_scale", "input_resolution", "context_length", "vocab_size", "attn_mask")


class ClipTextEncoder(nn.Module):
    """Prompts to unit vectors in CLIP's space. Frozen, always in evaluation mode."""

    def __init__(
        self,
        width: int = 512,
        depth: int = 12,
        num_heads: int = 8,
        channels: int = 512,
        context_length: int = 77,
        vocabulary: int = 49408,
    ) -> None:
        """
        Args:
            width, depth, num_heads: sizes of the transformer.
            channels: channels of the output.
            context_length: tokens per prompt; longer prompts are truncated.
            vocabulary: number of tokens.

        Raises:
            ImportError: naming the extra to install.
        """
        try:
            from open_clip.tokenizer import SimpleTokenizer
            from open_clip.transformer import QuickGELU, TextTransformer
        except ImportError as error:
            raise ImportError("CLIP's text tower needs open_clip: bash scripts/setup.sh uni3r") from error
        super().__init__()
        self.tower = TextTransformer(
            context_length, vocabulary, width, num_heads, depth, output_dim=channels, act_layer=QuickGELU
        )
        self._tokenizer = SimpleTokenizer(context_length=context_length)
        self.requires_grad_(False)
        self.eval()

    @classmethod
    def from_pretrained(cls, source: str | Path = OPENAI) -> ClipTextEncoder:
        """Load published weights.

        Args:
            source: ``openai`` for the hub; or a file: LSeg's ``demo_e200.ckpt``, a Uni3R file, a state dict of CLIP
                (safetensors or torch, names of OpenAI or open_clip), or OpenAI's own ``ViT-B-32.pt``.

        Raises:
            CheckpointError: the source cannot be read or does not fit; the message names it.
        """
        state = _from_hub() if str(source) == OPENAI else _read_clip(user_path(source))
        return cls.from_state(state, str(source))

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor], source: str, num_heads: int | None = None) -> ClipTextEncoder:
        """Build from tensors under CLIP's names, bare or with LSeg's prefix ``clip_pretrained.``; all must fit.

        Args:
            state: names to tensors of any floating type. CLIP's image tower and its settings are ignored.
            source: name of the source in error messages.
            num_heads: attention heads; None takes 64 channels per head, as published.

        Raises:
            CheckpointError: naming every tensor that is missing, unknown or of another shape.
        """
        text = LSEG_TEXT.convert(state)
        text = {key: value for key, value in text.items() if not key.startswith(_PASSED_OVER)}
        try:
            vocabulary, width = text["token_embedding.weight"].shape
            context_length, channels = text["positional_embedding"].shape[0], text["text_projection"].shape[1]
        except KeyError as error:
            raise CheckpointError(f"{source} holds no text tower of CLIP: {error} is missing") from None
        depth = len({match[0] for key in text if (match := re.match(r"transformer\.resblocks\.\d+\.", key))})
        if not depth:
            raise CheckpointError(f"{source} holds no text tower of CLIP: expected transformer.resblocks.0 and so on")
        encoder = cls(width, depth, num_heads or max(1, width // _HEAD_DIM), channels, context_length, vocabulary)
        fill_strictly(encoder.tower, text, LSEG_TEXT, source)
        return encoder.requires_grad_(False)

    @property
    def width(self) -> int:
        """C, channels of a vector."""
        return self.tower.text_projection.shape[1]

    def train(self, mode: bool = True) -> ClipTextEncoder:
        """Keep evaluation mode, whatever the parent's mode."""
        return super().train(False)

    def tokenize(self, prompts: Sequence[str]) -> Tensor:
        """(P, context_length) int64 tokens: start, words in lower case, end, zeros."""
        return self._tokenizer(list(prompts))

    def text(self, words: Words, templates: Sequence[str] = BARE_WORD) -> Tensor:
        """(W, C) unit vectors of words: the only part of a teacher that queries of a trained model need."""
        return embed_words(self, words, templates)

    @torch.no_grad()
    def forward(self, prompts: Sequence[str]) -> Tensor:
        """(P, C) float32 unit vectors of P prompts, on the device of the weights."""
        tokens = self.tokenize(prompts).to(self.tower.text_projection.device)
        return normalize(self.tower(tokens).float(), dim=-1)


def _read_clip(path: Path) -> Mapping[str, Tensor]:
    if _is_torchscript(path):  # OpenAI's format; loading TorchScript runs no Python
        return torch.jit.load(str(path), map_location="cpu").state_dict()
    try:
        return read_lseg(path)
    except CheckpointError:
        return read_state_dict(path)


def _is_torchscript(path: Path) -> bool:
    if not path.is_file() or not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _from_hub() -> Mapping[str, Tensor]:
    import open_clip

    try:
        return open_clip.create_model(_ARCHITECTURE, pretrained=OPENAI).state_dict()
    except (OSError, RuntimeError, ValueError) as error:
        raise CheckpointError(
            f"CLIP's text tower ({_ARCHITECTURE}, {OPENAI}) is neither in the local cache nor reachable "
            f"({type(error).__name__}); check the network, or give a file, such as LSeg's demo_e200.ckpt"
        ) from error
