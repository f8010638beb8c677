"""What goes over the wire in the native protocol, as strict models.

Rules: requests are strict (no coercion, unknown keys refused) and say nothing about content:
an empty text fails alone, later. Texts are plain ``str``, which lets lone surrogates in, for
the same reason. Answers are typed too; members that do not apply are left out.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from service.api.problems import ItemError

# Past any use; the variant's own bounds are told in plain words, and quote the number.
_MAX_INT = 1_000_000


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class TextItem(_Strict):
    """An input of classify or embed: one text, or a pair."""

    text: str
    text_pair: str | None = None


class ChooseItem(_Strict):
    """A context, what is asked of it, and the choices."""

    context: str
    question: str | None = None
    choices: list[str]


class TagItem(_Strict):
    """Words, split by the sender, or one text; exactly one of the two."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["tokens"]}, {"required": ["text"]}]},
    )

    tokens: list[str] | None = None
    text: str | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.tokens is None) == (self.text is None):
            raise ValueError("give either `tokens` or `text`, and not both")
        return self


class SpanItem(_Strict):
    """A question, and the context to find its answer in."""

    question: str
    context: str


class RequestParameters(_Strict):
    """How to read the inputs and give the answers; null or absent: the variant's default.

    A parameter that has no meaning for the variant's head is checked and not used.
    """

    truncate: bool | None = Field(
        default=None, description="Cut what is too long (default) or let that input fail."
    )
    max_tokens: int | None = Field(
        default=None, ge=1, le=_MAX_INT, description="Longest sequence, special tokens included."
    )
    stride: int | None = Field(
        default=None,
        ge=0,
        le=_MAX_INT,
        description="Tokens that neighbouring windows share (tag, span); default 128.",
    )
    max_answer_tokens: int | None = Field(
        default=None, ge=1, le=_MAX_INT, description="Longest answer (span); default 30."
    )
    top_k: int | None = Field(
        default=None,
        ge=1,
        le=_MAX_INT,
        description="Answers to give: labels (classify; default all) or spans (default 1).",
    )
    pooling: Literal["mean", "cls", "pooler"] | None = Field(default=None, description="Of embed.")
    layer: int | None = Field(
        default=None, ge=1, le=_MAX_INT, description="Layer to read, 1 the first; a lower one is faster."
    )
    normalize: bool | None = Field(default=None, description="Scale embeddings to length 1.")
    encoding: Literal["float", "base64"] | None = Field(
        default=None,
        description="Embeddings as numbers (default), or as base64 of little-endian float32.",
    )


class PredictRequest(_Strict):
    """What every request has; the kind of its inputs is the variant's head."""

    # Not a default value: pydantic would copy it deeply for each request.
    parameters: RequestParameters = Field(default_factory=RequestParameters)


class ClassifyRequest(PredictRequest):
    """Texts, or pairs of texts, to be labelled."""

    inputs: list[TextItem] = Field(min_length=1)


class ChooseRequest(PredictRequest):
    """Contexts with choices."""

    inputs: list[ChooseItem] = Field(min_length=1)


class TagRequest(PredictRequest):
    """Texts or lists of words, each word to be labelled."""

    inputs: list[TagItem] = Field(min_length=1)


class SpanRequest(PredictRequest):
    """Questions with contexts."""

    inputs: list[SpanItem] = Field(min_length=1)


class EmbedRequest(PredictRequest):
    """Texts, or pairs of texts, to be turned into vectors."""

    inputs: list[TextItem] = Field(min_length=1)


class UsageInfo(BaseModel):
    """What one input took."""

    tokens: int = Field(description="Tokens given to the encoder, summed over windows and choices.")
    windows: int
    truncated: bool = Field(description="Whether a part of the input was left out.")


class ClassifyOutput(BaseModel):
    """The likeliest label, and the probability of each."""

    label: str
    scores: dict[str, float]
    usage: UsageInfo


class ChooseOutput(BaseModel):
    """The index of the best choice, and the probability of each."""

    choice: int
    scores: list[float]
    usage: UsageInfo


class TagInfo(BaseModel):
    """The label of a word; word, start and end (characters) where the input was a text."""

    tag: str
    score: float
    word: str | None = None
    start: int | None = None
    end: int | None = None


class TagOutput(BaseModel):
    """One tag a word, in order."""

    tags: list[TagInfo]
    usage: UsageInfo


class SpanInfo(BaseModel):
    """An answer, and where it stands in the context, in characters."""

    text: str
    start: int
    end: int
    score: float


class SpanOutput(BaseModel):
    """The answers, best first."""

    answers: list[SpanInfo]
    usage: UsageInfo


class EmbedOutput(BaseModel):
    """The vector, as numbers or as base64."""

    embedding: list[float] | str
    usage: UsageInfo


class FailedOutput(BaseModel):
    """In place of the answer of an input that failed alone."""

    error: ItemError


Output = ClassifyOutput | ChooseOutput | TagOutput | SpanOutput | EmbedOutput | FailedOutput


class PredictResponse(BaseModel):
    """One output an input, in order."""

    variant: str
    revision: str
    outputs: list[Output]


class LineageInfo(BaseModel):
    """What training stands between the base model and the task."""

    system: str
    tasks: list[str]
    languages: list[str]


class DefaultsInfo(BaseModel):
    """What holds where a request does not say."""

    max_tokens: int
    pooling: str
    layer: int | None
    normalize: bool


class BytesInfo(BaseModel):
    """Memory of the weights: its own, and shared with other variants."""

    owned: int
    shared: int


class ParityInfo(BaseModel):
    """How far it is from float32, measured on a few texts when it was loaded."""

    max_relative_error: float = Field(description="Largest error of a logit over the largest logit.")
    mean_relative_error: float = Field(description="Mean error of the logits over their mean magnitude.")
    agreement: float = Field(description="Share of answers that are the same.")
    num_answers: int
    batch_relative_error: float = Field(
        description="Largest difference of a logit between a text in company and alone; 0 means equal bits."
    )


class VariantInfo(BaseModel):
    """A variant that is served."""

    name: str
    head: Literal["classify", "choose", "tag", "span", "embed"]
    labels: list[str]
    revision: str
    lineage: LineageInfo
    base: str
    dtype: str
    synthetic: bool
    warning: str | None = Field(default=None, description="What a reader of its answers must know.")
    digest: str
    num_layers: int
    hidden_size: int
    max_positions: int = Field(description="Longest sequence in tokens, special tokens included.")
    defaults: DefaultsInfo
    bytes: BytesInfo
    parity: ParityInfo | None


class VariantList(BaseModel):
    """Every variant that is served."""

    variants: list[VariantInfo]


class HealthInfo(BaseModel):
    """Fine."""

    status: Literal["live", "ready"]
