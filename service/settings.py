"""What an operator may set, with its default and its unit.

Rules: every setting comes from an argument, else from the environment (``XLMR_`` and the
setting's name), else from the default here; none is read anywhere else. A value that cannot
be served is refused here, in one line.
"""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from service.errors import StartupError

Device = Literal["auto", "cpu", "cuda"]
Dtype = Literal["float32", "float16", "bfloat16"]
LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["json", "console"]

PositiveSeconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Settings(BaseSettings):
    """Everything that can be set; frozen once made.

    ``variants``: the names to serve, None for every variant of the catalogue that has a
    checkpoint. ``dtype``: None for the catalogue's own, else the device's usual one.
    ``max_*_tokens``: special tokens included. ``max_prefetched_batches``: batches that are
    cut while another one runs; more of them means later arrivals get in later.
    """

    model_config = SettingsConfigDict(env_prefix="XLMR_", frozen=True, extra="forbid")

    catalogue: Path
    variants: Annotated[tuple[str, ...] | None, NoDecode] = None
    device: Device = "auto"
    dtype: Dtype | None = None

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    ready_file: Path | None = None

    max_body_bytes: int = Field(default=2 * 1024 * 1024, ge=1)
    max_inputs: int = Field(default=256, ge=1)
    max_requests: int = Field(default=2048, ge=1)
    # Long enough for a full offline backlog on a slow CPU; a client that wants less says so.
    timeout_s: PositiveSeconds = 300.0
    max_timeout_s: PositiveSeconds = 3600.0
    drain_timeout_s: PositiveSeconds = 30.0

    max_batch_tokens: int = Field(default=16384, ge=1)
    max_queue_tokens: int = Field(default=1_048_576, ge=1)
    max_wait_s: Seconds = 0.0
    max_prefetched_batches: int = Field(default=1, ge=0, le=8)

    tokenize_threads: int | None = Field(default=None, ge=1)
    torch_threads: int | None = Field(default=None, ge=1)

    log_level: LogLevel = "info"
    log_format: LogFormat = "json"

    @field_validator("variants", mode="before")
    @classmethod
    def _split_names(cls, value: Any) -> Any:
        """Read ``A,B`` as two names."""
        if not isinstance(value, str):
            return value
        names = tuple(name.strip() for name in value.split(","))
        if not all(names):
            raise ValueError("names are separated by single commas, as in A,B")
        return names

    @model_validator(mode="after")
    def _agree(self) -> Self:
        """Refuse settings that contradict each other."""
        if self.timeout_s > self.max_timeout_s:
            raise ValueError(f"timeout_s ({self.timeout_s:g}) is past max_timeout_s ({self.max_timeout_s:g})")
        return self

    @property
    def url_host(self) -> str:
        """The host as it stands in a URL: a literal IPv6 address goes in brackets."""
        try:
            return f"[{self.host}]" if ip_address(self.host).version == 6 else self.host  # noqa: PLR2004 - IPv6
        except ValueError:
            return self.host


def read_settings(**given: Any) -> Settings:
    """Make settings from arguments (None: not given) and the environment.

    Raises:
        StartupError: a value is missing or cannot be used; one line that names it.
    """
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        raise StartupError(_first_complaint(error)) from error


def _first_complaint(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    if not first["loc"]:
        return f"The settings contradict each other: {first['msg'].removeprefix('Value error, ')}."
    name = str(first["loc"][0])
    option = f"--{name.replace('_', '-')} (XLMR_{name.upper()})"
    if first["type"] == "missing":
        return f"{option} is missing; it has no default."
    return f"{option} cannot be {first['input']!r}: {first['msg'].removeprefix('Value error, ')}."
