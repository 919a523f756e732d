"""The one base class of all settings."""

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Frozen, closed to unknown keys; the text under a field documents it and becomes the JSON Schema's description."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True, validate_default=True
    )
