"""Settings of the workers that share several inputs. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from common.ranges import Count, CountOrZero, Positive

Engine = Literal["local", "slurm", "ray"]


@dataclass(frozen=True)
class ManySettings:
    """Workers for several inputs. Each loads the model once; inputs that are finished are not done again."""

    engine: Engine = "local"
    """Place of the workers: local (processes of this machine), slurm (one task each) or ray. The last two need the
    extra ``cluster``, and a disk that all machines see."""
    workers: Count = 1
    """Workers at once."""
    cpus: Count | None = None
    """Processor cores of each worker; null: its share of this machine (local), the cluster's default elsewhere."""
    gpus: CountOrZero = 0
    """GPUs: those of this machine, given to the workers in turn (local), or those of each worker."""
    memory_gb: Positive | None = None
    """Memory of each worker, GB (slurm, ray); null: the cluster's default."""
    minutes: Count = 240
    """Time limit of each worker (slurm); at its end the worker is queued again and goes on."""
    slurm: dict[str, Any] = field(default_factory=dict)
    """More for SLURM as submitit names it, with a plus: '+many.slurm={slurm_partition: gpu, slurm_account: lab}'."""
    address: str = "auto"
    """Address of the Ray cluster; local starts one on this machine."""
