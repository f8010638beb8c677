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
Dtype = Literal["float32", "float16", "bfloat16", "int8"]
LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["json", "console"]

PositiveSeconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Settings(BaseSettings):
    """Everything that can be set; frozen once made. The command's options are made from it."""

    model_config = SettingsConfigDict(env_prefix="XLMR_", frozen=True, extra="forbid")

    catalogue: Path = Field(description="Catalogue of variants, a TOML file.")
    variants: Annotated[tuple[str, ...] | None, NoDecode] = Field(
        default=None, description="Names of those to serve, as A,B; else all that have a checkpoint."
    )
    device: Device = Field(default="auto", description="auto, cpu or cuda.")
    dtype: Dtype | None = Field(
        default=None, description="float32, float16, bfloat16 or int8 for all; else as the catalogue says."
    )

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port to listen on; 0 for any free one.")
    http_workers: int = Field(
        default=1,
        ge=1,
        le=64,
        description="HTTP processes in front of the engine's; 1 for everything in one process.",
    )
    ready_file: Path | None = Field(
        default=None, description="File to write when requests are taken: the URL and more, as JSON."
    )

    max_body_bytes: int = Field(default=2 * 1024 * 1024, ge=1, description="Longest body of a request.")
    max_inputs: int = Field(default=256, ge=1, description="Most inputs of a request.")
    max_requests: int = Field(default=2048, ge=1, description="Most requests being answered at once.")
    # Long enough for a full offline backlog on a slow CPU; a client that wants less says so.
    timeout_s: PositiveSeconds = Field(default=300.0, description="Time for requests that set none.")
    max_timeout_s: PositiveSeconds = Field(default=3600.0, description="Most time a request may set.")
    drain_timeout_s: PositiveSeconds = Field(
        default=30.0, description="Time that requests under way get after SIGTERM."
    )
    # Longer than most load balancers keep theirs, so that it is not the server that closes.
    keep_alive_s: int = Field(default=75, ge=1, description="Time that an idle connection stays open.")

    max_batch_tokens: int | None = Field(
        default=None, ge=1, description="Token budget of a batch; else the knee that warm-up finds."
    )
    max_queue_tokens: int = Field(default=1_048_576, ge=1, description="Most tokens that wait.")
    max_wait_s: Seconds = Field(default=0.0, description="How long an idle engine waits for a fuller batch.")
    max_prefetched_batches: int = Field(
        default=1,
        ge=0,
        le=8,
        description="Batches cut while another runs; more of them delay urgent work.",
    )

    tokenize_threads: int | None = Field(
        default=None, ge=1, description="Threads that cut texts; else one a core, up to 8."
    )
    torch_threads: int | None = Field(
        default=None, ge=1, description="Threads of torch on a CPU; else what is fastest at the start."
    )
    replicas: int | None = Field(
        default=None,
        ge=1,
        description="Batches that a CPU runs side by side, over the same weights; else what is fastest.",
    )

    build_revision: str = Field(
        default="unknown", description="Commit that this installation was built from, for xlmr_build_info."
    )
    max_parity_error: Annotated[float, Field(gt=0)] = Field(
        default=0.25,
        description="Largest error of a logit against float32, relative, with which a variant is served.",
    )
    min_parity_agreement: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.6,
        description="Least share of answers that are float32's, with which a variant is served.",
    )

    canary_interval_s: Seconds = Field(
        default=300.0,
        description="Time in which each variant is asked whether it still answers as at load; 0 for never.",
    )

    heartbeat_s: PositiveSeconds = Field(
        default=1.0,
        description="How often processes ask each other for a sign of life; with several HTTP processes.",
    )
    # Longer than anything that a loop does at a stretch; weights are read on threads of their own.
    hang_timeout_s: Seconds = Field(
        default=10.0,
        description="Silence after which a process counts as hung, and is replaced; 0 for never.",
    )
    stuck_batch_s: Seconds = Field(
        default=60.0,
        description="Least time, and ten times what was expected, after which a batch counts as stuck and the"
        " service as dead; 0 for never.",
    )

    metrics_scripts: bool = Field(
        default=False, description="Whether to count inputs by the script that they are written in."
    )
    otlp_endpoint: Annotated[str | None, Field(pattern=r"^https?://[^/\s]+")] = Field(
        default=None,
        description="OpenTelemetry collector (OTLP over HTTP), as http://host:4318; else no traces.",
    )
    trace_ratio: float = Field(
        default=1.0, ge=0, le=1, description="Share of requests that are traced, if they bring no trace."
    )
    log_level: LogLevel = Field(default="info", description="debug, info, warning or error.")
    log_format: LogFormat = Field(default="json", description="json, or console for people.")

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
