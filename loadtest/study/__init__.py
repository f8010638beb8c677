"""Studies: which arm runs when, against which server, and what the runs say together.

The only room that starts servers. Files: ``study_file`` (what is declared), ``folder`` (where
things lie), ``server`` (the child process), ``segments`` (schedules), ``replay`` (one run),
``conduct`` (all runs, in order, resumable), ``capacity_search``, and, pure, ``measures``,
``observed``, ``comparisons``, ``controls``, ``differences`` (quality), ``token_share``,
``verdict``, ``record`` (all of it as `study.json`).
"""
