"""Base of a recipe's sections."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A section: unknown keys, values of another type, NaN and Inf are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
