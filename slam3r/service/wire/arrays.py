"""Arrays as fields of pydantic models: checked by dtype and shape, and described in the JSON Schema."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema


@dataclass(frozen=True)
class ArrayOf:
    """Annotates an array: ``Annotated[NDArray, ArrayOf("<f4", None, 3)]``."""

    dtype: str
    """Name of the dtype, with its byte order, as it travels."""
    shape: tuple[int | None, ...]
    """Size of each axis; None for any."""

    def __init__(self, dtype: str, *shape: int | None) -> None:
        object.__setattr__(self, "dtype", dtype)
        object.__setattr__(self, "shape", shape)

    def check(self, value: Any) -> NDArray[Any]:
        """Return the array if it fits.

        Raises:
            ValueError: with what was expected.
        """
        if not isinstance(value, np.ndarray) or value.dtype != np.dtype(self.dtype):
            raise ValueError(f"expected an array of {self.dtype}")
        fits = len(self.shape) == value.ndim and all(w in (None, a) for w, a in zip(self.shape, value.shape))
        if not fits:
            raise ValueError(f"expected the shape {list(self.shape)}, got {list(value.shape)}")
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.check)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        axes = [{"type": "integer", "minimum": 0} if axis is None else {"const": axis} for axis in self.shape]
        shape = {"type": "array", "prefixItems": axes, "minItems": len(axes), "maxItems": len(axes)}
        data = {"description": "msgpack binary: the elements in C order, little-endian"}
        return {
            "type": "object",
            "properties": {"dtype": {"const": self.dtype}, "shape": shape, "data": data},
            "required": ["dtype", "shape", "data"],
            "additionalProperties": False,
        }
