"""Columns of benchmark tables: units, and whether higher or lower is better."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from common.evaluation.benchmark import VARIANT, Row, Value


@dataclass(frozen=True)
class Column:
    """Display of a figure."""

    title: str
    better: Literal["lower", "higher"] | None = None
    factor: float = 1.0
    """From the stored unit (metres, shares, bytes) to the shown one."""
    digits: int = 3

    @property
    def heading(self) -> str:
        """Title with an arrow towards better values."""
        return self.title + {"lower": " ↓", "higher": " ↑", None: ""}[self.better]

    def show(self, value: Value) -> str:
        """Format a value for a table."""
        if value is None:
            return "–"
        if isinstance(value, str) or (isinstance(value, int) and self.factor == 1):
            return str(value)
        return f"{value * self.factor:.{self.digits}f}"


def _cm(title: str) -> Column:
    return Column(f"{title} (cm)", "lower", 100, 2)


GROUPS: Mapping[str, Mapping[str, Column]] = {
    "Frames": {
        "frames": Column("frames", digits=1),
        "stride": Column("stride", digits=1),
        "windows": Column("windows", digits=1),
    },
    "Points": {
        "accuracy": _cm("accuracy"),
        "completeness": _cm("completeness"),
        "accuracy_median": _cm("accuracy median"),
        "completeness_median": _cm("completeness median"),
        "accuracy_p90": _cm("accuracy, 90th percentile"),
        "completeness_p90": _cm("completeness, 90th percentile"),
        "chamfer": _cm("chamfer"),
        "completion_ratio_5cm": Column("within 5 cm (%)", "higher", 100, 1),
        "f_1cm": Column("F 1 cm", "higher"),
        "f_1.5cm": Column("F 1.5 cm", "higher"),
        "f_2cm": Column("F 2 cm", "higher"),
        "f_5cm": Column("F 5 cm", "higher"),
        "f_10cm": Column("F 10 cm", "higher"),
        "aligned": Column("aligned"),
        "confident_share": Column("confident (%)", None, 100, 1),
        "constant_accuracy": _cm("constant accuracy"),
        "constant_completeness": _cm("constant completeness"),
        "accuracy_gain": Column("accuracy gain", "higher", digits=2),
        "completeness_gain": Column("completeness gain", "higher", digits=2),
        "retrieval_auc": Column("retrieval AUC", "higher"),
        "point_error_2": Column("point error 2 (%)", "lower", 100, 1),
        "point_error_4": Column("point error 4 (%)", "lower", 100, 1),
        "point_error_10": Column("point error 10 (%)", "lower", 100, 1),
        "confident_half": Column("confident half", "lower", digits=2),
    },
    "Path": {
        "ate_rmse": _cm("ATE RMSE"),
        "ate_mean": _cm("ATE mean"),
        "ate_median": _cm("ATE median"),
        "ate_max": _cm("ATE max"),
        "rotation_error": Column("rotation (°)", "lower"),
        "focal_error": Column("focal error (%)", None, 100, 1),
        "focal_error_size": Column("size of the focal error (%)", "lower", 100, 1),
        "rpe_translation": _cm("RPE translation"),
        "rpe_rotation": Column("RPE rotation (°)", "lower"),
        "path_length": Column("path (m)", digits=2),
        "poses": Column("poses", digits=1),
    },
    "Depth": {
        "depth_abs_rel_ls": Column("AbsRel, least squares", "lower"),
        "depth_rmse_ls": Column("RMSE (m), least squares", "lower"),
        "depth_tau_1_ls": Column("τ < 1.03, least squares", "higher"),
        "depth_tau_2_ls": Column("τ < 1.03², least squares", "higher"),
        "depth_tau_3_ls": Column("τ < 1.03³, least squares", "higher"),
        "depth_abs_rel": Column("AbsRel, median scale", "lower"),
        "depth_rmse": Column("RMSE (m), median scale", "lower"),
        "depth_delta_1": Column("δ < 1.25, median scale", "higher"),
        "depth_images": Column("depth images", digits=1),
        "roughness": Column("roughness (‰)", "lower", 1000, 2),
        "edge_score": Column("F of edges", "higher", digits=2),
    },
    "Renderings": {
        "psnr": Column("PSNR (dB)", "higher", digits=2),
        "psnr_nearest": Column("PSNR of the nearest input picture (dB)", None, digits=2),
        "psnr_mean_colour": Column("PSNR of the inputs' mean colour (dB)", None, digits=2),
        "ssim": Column("SSIM", "higher"),
        "lpips": Column("LPIPS", "lower"),
        "miou": Column("mIoU", "higher"),
        "pixel_accuracy": Column("pixel accuracy", "higher"),
    },
    "Speed": {
        "frames_per_second": Column("frames/s", "higher", digits=2),
        "peak_memory": Column("peak memory (GiB)", "lower", 2.0**-30, 2),
        "peak_gpu_memory": Column("peak GPU memory (GiB)", "lower", 2.0**-30, 2),
        "seconds_refining": Column("seconds refining", "lower", digits=1),
        "seconds": Column("seconds", "lower", digits=1),
    },
}
"""Columns by kind of figure. Stored values are in metres, degrees, shares from 0 to 1, bytes and seconds."""

COLUMNS: Mapping[str, Column] = {key: shown for group in GROUPS.values() for key, shown in group.items()}
"""All of them."""


def column(key: str) -> Column:
    """Column of a figure; a plain one for unknown names."""
    return COLUMNS.get(key, Column(key.replace("_", " ")))


def grouped(keys: Iterable[str]) -> dict[str, list[str]]:
    """Columns by their group, in its order of groups; those that are not known come under "Other"."""
    names = {key: group for group, own in GROUPS.items() for key in own}
    found: dict[str, list[str]] = {group: [] for group in (*GROUPS, "Other")}
    for key in keys:
        found[names.get(key, "Other")].append(key)
    return {group: own for group, own in found.items() if own}


def columns_of(rows: Iterable[Row]) -> list[str]:
    """All keys of some rows but ``scene``, in the order in which they first appear."""
    return list(dict.fromkeys(key for row in rows for key in row if key != "scene"))


def mean_rows(rows: list[Row]) -> dict[str, Row]:
    """`mean_row` for each variant among the rows' scenes; the key is the variant, or empty for scenes without any."""
    return {variant: mean_row(own) for variant, own in by_variant(rows).items()}


def mean_row(rows: list[Row]) -> Row:
    """Mean of every column of numbers over the scenes that have one; None where none has."""
    return _summary(rows, lambda _, values: sum(values) / len(values))


def median_row(rows: list[Row]) -> Row:
    """Median of every column of numbers over the scenes that have one; None where none has."""
    return _summary(rows, lambda _, values: float(np.median(values)))


def bad_tail_row(rows: list[Row]) -> Row:
    """Value of every column that nine of ten scenes reach: the 90th percentile, the 10th where higher is better."""
    return _summary(
        rows, lambda key, values: float(np.quantile(values, 0.1 if column(key).better == "higher" else 0.9))
    )


def by_variant(rows: list[Row]) -> dict[str, list[Row]]:
    """Rows by the variant in their scenes' names; the key is empty for scenes without any."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(str(row["scene"]).partition(VARIANT)[2], []).append(row)
    return groups


def _summary(rows: list[Row], summarize: Callable[[str, list[float]], float]) -> Row:
    summary: Row = {}
    for key in columns_of(rows):
        values = [row.get(key) for row in rows]
        if any(isinstance(value, str) for value in values):
            continue
        known = [float(value) for value in values if isinstance(value, (int, float))]
        summary[key] = summarize(key, known) if known else None
    return summary
