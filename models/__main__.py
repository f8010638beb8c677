"""`python -m models` is `xlmr-models`."""

from __future__ import annotations

from models.cli import main

main()
