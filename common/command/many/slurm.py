"""Workers as tasks of SLURM, by submitit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from common.command.many.settings import ManySettings
from common.errors import ConfigurationError


class SlurmWorkers:
    """A job array; the logs of its tasks lie in ``slurm`` of the folder."""

    def __init__(
        self,
        settings: ManySettings,
        function: Callable[[int], None],
        folder: Path,
        count: int,
        cluster: str = "slurm",
    ) -> None:
        """
        Args:
            settings: what each task asks for.
            function: can be pickled; with a method ``checkpoint``, it is queued again at its time limit.
            folder: seen by all nodes.
            count: tasks.
            cluster: ``slurm``; ``local`` for tests.

        Raises:
            ConfigurationError: submitit is not installed, this machine has no ``sbatch``, or SLURM takes no such
                parameter.
        """
        try:
            import submitit
        except ModuleNotFoundError:
            raise ConfigurationError("many.engine=slurm needs submitit: bash scripts/setup.sh cluster") from None
        asked = {"timeout_min": settings.minutes, "cpus_per_task": settings.cpus, "mem_gb": settings.memory_gb}
        asked |= {"gpus_per_node": settings.gpus or None}
        try:
            executor = submitit.AutoExecutor(folder / "slurm", cluster=cluster)
            executor.update_parameters(
                name="many", **{key: value for key, value in asked.items() if value is not None}, **settings.slurm
            )
            self._jobs = executor.map_array(function, range(count))
        except (RuntimeError, NameError, TypeError, ValueError, submitit.core.utils.FailedJobError) as error:
            raise ConfigurationError(f"many.engine=slurm: {' '.join(str(error).split())}") from error

    def running(self) -> int:
        """Number of tasks that have not ended."""
        return sum(not job.done() for job in self._jobs)

    def stop(self) -> None:
        """Cancel all tasks."""
        for job in self._jobs:
            job.cancel()

    def faults(self) -> list[str]:
        """A phrase for each task that failed."""
        ended = {job.job_id: job.exception() for job in self._jobs}
        return [f"task {name}: {str(error).strip().splitlines()[-1]}" for name, error in ended.items() if error]
