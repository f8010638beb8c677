"""Whether what a container runs can be run: options and paths of the service, the health routes."""

from __future__ import annotations

from service.settings import Settings

HEALTH_ROUTES = {"/health/live", "/health/ready"}


def given_options(arguments: list[str]) -> dict[str, str]:
    """Read ``--name value`` pairs; an option that the service does not have is an error."""
    names, values = arguments[::2], arguments[1::2]
    options = dict(zip((name.removeprefix("--") for name in names), values, strict=True))
    unknown = options.keys() - {name.replace("_", "-") for name in Settings.model_fields}
    assert not unknown, f"xlmr-serve has no such option: {', '.join(sorted(unknown))}"
    # The values too: Settings refuses what cannot be served.
    Settings.model_validate({name.replace("-", "_"): value for name, value in options.items()}, strict=False)
    return options
