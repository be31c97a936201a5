"""Train a network: ``python scripts/train.py experiment=tiny_i2p``. Every knob is in ``configs/train.yaml``."""

from __future__ import annotations

import contextlib
import logging

import hydra
import torch
import torch.nn.attention
from hydra.utils import instantiate
from lightning import seed_everything
from omegaconf import DictConfig, OmegaConf

logger = logging.getLogger(__name__)


@hydra.main(version_base="1.3", config_path="../configs", config_name="train")
def main(config: DictConfig) -> None:
    """Build data, objective and trainer from the config, and fit."""
    OmegaConf.resolve(config)
    seed_everything(config.seed, verbose=False)
    if config.threads:
        torch.set_num_threads(config.threads)
    data = instantiate(config.data)
    objective = instantiate(config.objective)
    trainable = sum(p.numel() for p in objective.model.parameters() if p.requires_grad)
    logger.info("%s: %.1f M trainable parameters", type(objective.model).__name__, trainable / 1e6)
    if config.attention_backend:
        backend = getattr(torch.nn.attention.SDPBackend, config.attention_backend.upper())
        context = torch.nn.attention.sdpa_kernel(backend)
    else:
        context = contextlib.nullcontext()
    trainer = instantiate(config.trainer, callbacks=list(instantiate(config.callbacks).values()))
    with context:
        trainer.fit(objective, datamodule=data, ckpt_path=config.resume)


if __name__ == "__main__":
    main()
