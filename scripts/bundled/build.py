"""Write the bundled sample from its source tables: `python -m scripts.bundled.build`.

The sample has every task and language of XTREME-R in the official formats and layout, at least two items
each, with gold. The languages of a task come from the benchmark's table; a language whose table lacks what a
task needs is an error. The same tables give the same bytes; a test holds the committed files to that.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from loadtest.datasets.squad import LANGUAGE_NAMES
from loadtest.datasets.tasks import LANGUAGES, TASKS, Task
from loadtest.datasets.tatoeba import ISO_639_3
from scripts.bundled import formats
from scripts.bundled.source import Language, SourceError, read_languages

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCES = Path(__file__).parent
DATA = SOURCES.parents[1] / "loadtest" / "datasets" / "bundled" / "data"
MIN_ITEMS = 2


def main() -> int:
    """Write the sample; return the exit status."""
    parser = argparse.ArgumentParser(description="Write the bundled sample from its source tables.")
    parser.add_argument("--out", type=Path, default=DATA, help="folder to write to (default: the package's)")
    out: Path = parser.parse_args().out
    try:
        files = dict(sample_files(read_languages(SOURCES)))
    except SourceError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for name, text in files.items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
    print(f"{len(files)} files, {sum(len(text.encode()) for text in files.values()):,} bytes in {out}")
    return 0


def sample_files(languages: dict[str, Language]) -> Iterator[tuple[str, str]]:
    """Yield the name and the text of each file of the sample.

    Raises:
        SourceError: a language lacks what one of its tasks needs.
    """
    _check(languages)
    spoken = {task: [languages[code] for code in TASKS[task].languages] for task in Task}
    yield "xnli/xnli.test.tsv", formats.xnli(spoken[Task.XNLI])
    for language in spoken[Task.XCOPA]:
        yield f"xcopa/{language.code}/test.{language.code}.jsonl", formats.xcopa(language.choices)
    for language in spoken[Task.UDPOS]:
        yield f"ud/{language.code}_sample-ud-test.conllu", formats.conllu(language)
    for language in spoken[Task.PANX]:
        yield f"panx/{language.code}-test", formats.wikiann(language)
    yield from _question_files(spoken)
    for language in spoken[Task.TATOEBA]:
        code = ISO_639_3[language.code]
        yield f"tatoeba/tatoeba.{code}-eng.{code}", formats.lines(language.translations)
        yield f"tatoeba/tatoeba.{code}-eng.eng", formats.lines(languages["en"].translations)
    yield "mewslix/wikinews_mentions-test.jsonl", formats.mentions(spoken[Task.MEWSLIX])
    yield (
        "mewslix/candidate_set_entities.jsonl",
        formats.entities(languages[code] for code in LANGUAGES),
    )


def _question_files(spoken: dict[Task, list[Language]]) -> Iterator[tuple[str, str]]:
    for language in spoken[Task.XQUAD]:
        passages = (*language.passages, *language.long_passages)
        text = formats.squad(passages, language.sentence_space, version="1.1")
        yield f"xquad/xquad.{language.code}.json", text
    for language in spoken[Task.MLQA]:
        groups = [language.passages, *((passage,) for passage in language.long_passages)]
        text = formats.squad_joined(groups, language.sentence_space, version=1.0)
        yield f"mlqa/MLQA_V1/test/test-context-{language.code}-question-{language.code}.json", text
    for language in spoken[Task.TYDIQA]:
        passages = (*language.passages, *language.long_passages)
        text = formats.squad(
            passages,
            language.sentence_space,
            version="TyDiQA-GoldP-1.1-for-SQuAD-1.1",
            id_prefix=f"{LANGUAGE_NAMES[language.code]}-",
        )
        yield f"tydiqa/tydiqa-goldp-v1.1-dev/tydiqa.goldp.{language.code}.dev.json", text
    for language in spoken[Task.LAREQA]:
        text = formats.lareqa(language.passages, language.sentence_space)
        yield f"lareqa/xquad-r/{language.code}.json", text


def _check(languages: dict[str, Language]) -> None:
    """Refuse tables that lack what a task needs in one of its languages."""
    for task, spec in TASKS.items():
        for code in spec.languages:
            found = _num_items(task, languages[code])
            if found < MIN_ITEMS:
                raise SourceError(f"{code}.toml has {found} items for {spec.title}; it needs {MIN_ITEMS}")
    num_lines = len(languages["en"].translations)
    for code in TASKS[Task.TATOEBA].languages:
        found = len(languages[code].translations)
        if found != num_lines:
            raise SourceError(f"{code}.toml has {found} translations; en.toml has {num_lines} lines")
    ids = [entity.id for code in LANGUAGES for entity in languages[code].entities]
    if len(set(ids)) != len(ids):
        raise SourceError(f"entities {sorted({i for i in ids if ids.count(i) > 1})} stand in two tables")
    for code in TASKS[Task.MEWSLIX].languages:
        for mention in languages[code].mentions:
            if mention.entity not in ids:
                raise SourceError(f"{code}.toml: no table has the entity {mention.entity} of a mention")
    _check_parallel(languages)


def _check_parallel(languages: dict[str, Language]) -> None:
    """LAReQA searches all languages at once: the same questions must be there in each, answered alike."""
    shapes = {
        code: [(p.id, len(p.sentences), [(q.id, q.sentence) for q in p.questions]) for p in language.passages]
        for code, language in languages.items()
    }
    for code in TASKS[Task.LAREQA].languages:
        if shapes[code] != shapes["en"]:
            raise SourceError(f"{code}.toml: passages differ from en.toml in ids, sentences or questions")


def _num_items(task: Task, language: Language) -> int:  # noqa: PLR0911 - one return a kind of task
    match task:
        case Task.XNLI:
            return sum(len(inference.hypotheses) for inference in language.inferences)
        case Task.XCOPA:
            return len(language.choices)
        case Task.UDPOS:
            return sum(1 for tagged in language.tagged if tagged.upos)
        case Task.PANX:
            return sum(1 for tagged in language.tagged if any(tag != "O" for tag in tagged.entities))
        case Task.XQUAD | Task.MLQA | Task.TYDIQA | Task.LAREQA:
            return sum(len(passage.questions) for passage in language.passages)
        case Task.TATOEBA:
            return len(language.translations)
        case Task.MEWSLIX:
            return len(language.mentions)


if __name__ == "__main__":
    sys.exit(main())
