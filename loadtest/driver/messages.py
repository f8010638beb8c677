"""What the coordinator and its workers say to each other, over Locust's own message channel.

::

    coordinator            worker
    HELLO   plan, shard ->        load the trace, encode, connect, warm up
            <- READY   or REFUSED (a sentence)
    PING    ->
            <- PONG    its clock          only where the clock is not shared
    GO      start ->              send the shard
            <- PROGRESS, PIECE ..  twice a second; PIECE where the folder is not shared
            <- DONE    measurements of this worker

Every message carries the number of its run, so that a late word of an earlier run (web UI:
stop, start again) is not taken for one of this.
"""

from __future__ import annotations

HELLO = "xlmr_hello"
READY = "xlmr_ready"
REFUSED = "xlmr_refused"
PING = "xlmr_ping"
PONG = "xlmr_pong"
GO = "xlmr_go"
PROGRESS = "xlmr_progress"
PIECE = "xlmr_piece"
DONE = "xlmr_done"

TO_WORKER = (HELLO, PING, GO)
TO_COORDINATOR = (READY, REFUSED, PONG, PROGRESS, PIECE, DONE)
