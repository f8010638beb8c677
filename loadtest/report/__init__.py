"""From the files of a run to `summary.json`, one page, Markdown, JUnit and a terminal table."""
