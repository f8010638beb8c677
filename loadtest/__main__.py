"""`python -m loadtest` is `xlmr-load`."""

from __future__ import annotations

from loadtest.cli import main

main()
