"""Sends a schedule at its instants and keeps what came back; the only part that imports Locust.

Import direction: ``run`` (outside Locust) > ``launch``, ``prepare``, ``finish`` > plain records;
``locustfile`` (inside it) > ``director`` > ``coordinator`` | ``worker`` > ``dispatcher`` > ``connection``.
Importing this package, or ``run``, never imports Locust or gevent.
"""
