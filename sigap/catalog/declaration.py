"""The words of a model's declaration: what stands once and is read by everything else."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from sigap.catalog.names import ANSWER_FIELDS, field_fault, quoted


class Word(BaseModel):
    """Base of the words: immutable, and strict about names."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Text(Word):
    """A text for people, in Indonesian and in English."""

    id: str
    en: str

    def in_language(self, language: str) -> str:
        """The text in `id` or `en`."""
        return self.id if language == "id" else self.en


class Kind(StrEnum):
    """Type of a column, in the table, in a request and in a form."""

    INTEGER = "integer"
    NUMBER = "number"
    TEXT = "text"
    CATEGORY = "category"
    TIMESTAMP = "timestamp"


class Column(Word):
    """A column of the snapshot that identifies or describes a row and is not trained on."""

    name: str
    kind: Kind
    meaning: Text
    sql: str = Field("", description="Expression that selects it; empty for the column of that name in the table.")
    required: bool = Field(False, description="Whether a row without it breaks the contract.")
    pattern: str = Field("", description="Regular expression a text has to match as a whole.")
    form: Text | None = Field(None, description="That expression in words, as in `expected a text like …`.")
    minimum: float | None = None
    maximum: float | None = None
    aliases: tuple[str, ...] = Field((), description="Other headings under which files bring it.")


def shortfall(value: float, goal: float, *, higher_is_better: bool | None) -> float:
    """Signed change from `value` to `goal`; 0 where `value` is as good already or better."""
    change = goal - value
    beyond = (change < 0) if higher_is_better else (change > 0)
    # Nine decimals are far below any figure's precision and above floating-point noise.
    return 0.0 if beyond and higher_is_better is not None else round(change, 9)


class Feature(Word):
    """A column that the model may be trained on, and a field of its request."""

    name: str
    kind: Kind
    title: Text
    meaning: Text
    unit: Text
    minimum: float | None = Field(None, description="Smallest value that can be true, inclusive.")
    maximum: float | None = Field(None, description="Largest value that can be true, inclusive.")
    categories: tuple[str, ...] = ()
    category_labels: tuple[Text, ...] = Field((), description="The categories for people, in their order.")
    flag: bool = Field(False, description="Whether it is 1 for yes and 0 for no.")
    higher_is_better: bool | None = Field(None, description="Direction, where the feature has one.")
    personal: bool = Field(False, description="Whether it says something about a person.")
    source: str = Field("", description="Who publishes it.")
    sql: str = Field("", description="Expression that selects it; empty for the column of that name in the table.")
    aliases: tuple[str, ...] = Field((), description="Other headings under which files bring it.")

    def shortfall(self, value: float, goal: float) -> float:
        """Signed change in the feature's unit from `value` to `goal`; 0 where `value` is as good already or better."""
        return shortfall(value, goal, higher_is_better=self.higher_is_better)

    @model_validator(mode="after")
    def _range_is_ordered(self) -> Feature:
        if self.minimum is not None and self.maximum is not None and self.minimum >= self.maximum:
            raise ValueError(f"{self.name}: minimum {self.minimum} is not below maximum {self.maximum}")
        return self

    @model_validator(mode="after")
    def _labels_fit(self) -> Feature:
        if self.category_labels and len(self.category_labels) != len(self.categories):
            raise ValueError(f"{self.name}: {len(self.categories)} categories have {len(self.category_labels)} labels")
        return self


NO_UNIT = Text(id="", en="")


def number(
    name: str,
    title: Text,
    meaning: Text,
    unit: Text,
    minimum: float,
    maximum: float,
    *,
    kind: Kind = Kind.NUMBER,
    column: str = "",
    personal: bool = False,
    higher_is_better: bool | None = None,
    flag: bool = False,
) -> Feature:
    """A feature of numbers, between `minimum` and `maximum` inclusive; `column` is by default the name in lowercase."""
    return Feature(
        name=name,
        sql=f"t.{column or name.lower()}",
        kind=kind,
        title=title,
        meaning=meaning,
        unit=unit,
        minimum=minimum,
        maximum=maximum,
        personal=personal,
        higher_is_better=higher_is_better,
        flag=flag,
    )


def choice(
    name: str,
    title: Text,
    meaning: Text,
    categories: tuple[str, ...],
    *,
    column: str = "",
    personal: bool = False,
    aliases: tuple[str, ...] = (),
    labels: tuple[Text, ...] = (),
) -> Feature:
    """A feature that is one of `categories`, called `labels`; `column` is by default the name in lower case."""
    return Feature(
        name=name,
        sql=f"t.{column or name.lower()}",
        kind=Kind.CATEGORY,
        title=title,
        meaning=meaning,
        unit=NO_UNIT,
        categories=categories,
        category_labels=labels,
        personal=personal,
        aliases=aliases,
    )


class Source(Word):
    """Where the rows come from."""

    table: str
    relation: str = Field(description="What stands behind FROM; the table itself is called `t` in it.")
    key: tuple[str, ...] = Field(description="Columns that identify a row; the snapshot is written in their order.")
    entity: str = Field(description="Column that names whom or what a row is about.")
    entity_name: str = Field("", description="Column with the entity's name for people, if it has one.")
    time: str = Field("", description="Column with the period or moment that a row is about, if it has one.")


class Clustering(Word):
    """K-Means over entities, and what makes a clustering admissible."""

    kind: Literal["clustering"] = "clustering"
    published_share: float = Field(
        gt=0, le=1, description="A feature known for a smaller share of the entities is left out."
    )
    carry_forward: int = Field(ge=0, description="Periods for which a last published figure stands for later ones.")
    winsorize: float = Field(
        ge=0, lt=0.5, description="Values beyond this quantile and its mirror are pulled in to it before scaling."
    )
    minimum_entities: int = Field(ge=4, description="With fewer entities nothing is trained.")
    smallest_cluster: int = Field(ge=1, description="No cluster may have fewer entities.")
    smallest_share: float = Field(ge=0, lt=1, description="No cluster may have a smaller share of the entities.")
    stability_floor: float = Field(
        ge=0, le=1, description="Least mean adjusted Rand index between the clustering and those of its bootstraps."
    )
    missing: Literal["not_assessed", "impute"] = Field(
        "not_assessed",
        description="An entity that lacks a used feature is not assessed, or gets the median of the others; one that "
        "lacks a category is in none of them.",
    )
    structure_floor: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="Least gain in silhouette over the same rows with each column shuffled on its own, which have no "
        "groups but those that single columns make; None asks for none.",
    )
    selection: Literal["silhouette"] = "silhouette"
    preferred_clusters: int | None = Field(
        None, ge=2, description="Number of clusters that is kept unless another separates the rows better beyond doubt."
    )
    order: Literal["readiness", "size"] = Field(
        "readiness", description="What ranks the clusters: the features' directions, or the number of members."
    )
    best: Text = Field(
        description="Label of the best cluster; with `size`, of every one, numbered from the largest at first."
    )
    middle: Text = Field(description="Label of those between; numbered from the better end when there are several.")
    worst: Text = Field(description="Label of the worst cluster.")

    def labels(self, k: int) -> tuple[Text, ...]:
        """Labels of `k` clusters from the best (rank 0) to the worst.

        Raises:
            ValueError: `k` is below 2.
        """
        if k < 2:
            raise ValueError(f"k is {k}; labels need at least two clusters")
        if self.order == "size":
            return tuple(Text(id=f"{self.best.id} {i}", en=f"{self.best.en} {i}") for i in range(1, k + 1))
        count = k - 2
        if count == 1:
            between = [self.middle]
        else:
            stem = self.middle.en.split(" ", 1)
            between = [
                Text(id=f"{self.middle.id} {i}", en=" ".join([f"{stem[0]} {i}", *stem[1:]]))
                for i in range(1, count + 1)
            ]
        return (self.best, *between, self.worst)


class Target(Word):
    """What a supervised model answers, a column of the snapshot."""

    name: str
    kind: Kind
    title: Text
    meaning: Text
    unit: Text | None = None
    minimum: float | None = None
    maximum: float | None = None
    categories: tuple[str, ...] = ()
    sql: str = Field("", description="Expression that selects it; empty for the column of that name in the table.")
    aliases: tuple[str, ...] = Field((), description="Other headings under which files bring it.")


class Segments(Word):
    """Classes of a regression's target, cut where K-Means on the training target cuts."""

    labels: tuple[Text, ...] = Field(min_length=2, description="From the lowest to the highest.")


class Regression(Word):
    """A number with an interval, beside the median of the training target as baseline."""

    kind: Literal["regression"] = "regression"
    confidence: float = Field(0.9, gt=0, lt=1, description="Share of true values that the interval is to hold.")
    selection: Literal["rmse"] = "rmse"
    minimum_rows: int = Field(60, ge=10, description="With fewer rows nothing is trained.")
    minimum_effect: float = Field(
        0.01, ge=0, lt=1, description="Least relative gain in RMSE that changes the champion when the data is the same."
    )
    segments: Segments | None = None


class Policy(Word):
    """A rule of the lender's own that rejects whatever the model says, and the reason as the applicant reads it."""

    name: str
    feature: str
    below: float | None = Field(None, description="Rejects values below this.")
    above: float | None = Field(None, description="Rejects values above this.")
    reason: Text


class Classification(Word):
    """Yes or no with a probability, beside the majority and the best one-column rule as baselines."""

    kind: Literal["classification"] = "classification"
    positive: str = Field(description="Value of the target that means yes.")
    yes: str = Field(description="The answer's `prediction` for yes.")
    no: str = Field(description="The answer's `prediction` for no.")
    flag: Literal["is_approved", "prediction_code"] = Field(
        description="The answer's second field: a boolean, or the code 1 or 0."
    )
    selection: Literal["accuracy"] = "accuracy"
    minimum_rows: int = Field(100, ge=20, description="With fewer rows nothing is trained.")
    minimum_effect: float = Field(
        0.01, ge=0, lt=1, description="Least gain in accuracy that changes the champion when the data is the same."
    )
    fairness: tuple[str, ...] = Field((), description="Features by whose values approval rates are compared.")
    policies: tuple[Policy, ...] = ()


class Forecasting(Word):
    """The next step of a series with an interval, beside the naive forecast: the last value stays."""

    kind: Literal["forecasting"] = "forecasting"
    step: Literal["1d", "1h", "1m"] = Field("1d", description="Distance of two rows.")
    lags: int = Field(14, ge=1, le=500, description="Past returns that a forecast looks at.")
    confidence: float = Field(0.9, gt=0, lt=1, description="Share of true values that the interval is to hold.")
    selection: Literal["rmse"] = "rmse"
    minimum_rows: int = Field(200, ge=50, description="With fewer rows nothing is trained.")
    minimum_effect: float = Field(
        0.005, ge=0, lt=1, description="Least relative gain in RMSE over the naive forecast and over the champion."
    )


TaskKind = TypeVar("TaskKind", Clustering, Regression, Classification, Forecasting)
Task = Annotated[Clustering | Regression | Classification | Forecasting, Field(discriminator="kind")]


class Declaration(Word):
    """One model: from here follow SQL, contract, training, API, form, drift report and model card."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    title: Text
    question: Text = Field(description="What it answers, in one sentence.")
    source: Source
    columns: tuple[Column, ...]
    features: tuple[Feature, ...]
    target: Target | None = None
    task: Task
    example: dict[str, Any] = Field(description="A request as a client would send it.")
    request_columns: tuple[str, ...] = Field(
        (), description="Columns that a request carries beside the features, to say whom it is about."
    )
    data_source: Text
    paths: tuple[str, ...] = Field((), description="Further paths of the API where the model answers.")
    promotion: Literal["auto", "manual"] = Field(
        "auto", description="Whether what passes the gate is served at once, or waits for a person's approval."
    )
    change_minutes: float = Field(
        0, ge=0, description="Least time between two trainings for changed rows; for a table that changes all the time."
    )
    replay_limit: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="What passes the gate waits for a person too where it changes a greater share of the answers to "
        "stored inputs; None asks for no such limit.",
    )

    def task_as(self, kind: type[TaskKind]) -> TaskKind:
        """The task, known to be of this kind.

        Raises:
            TypeError: It is of another; whoever calls this was given the wrong declaration.
        """
        if not isinstance(self.task, kind):
            raise TypeError(f"{self.name} is a {self.task.kind}, not a {kind.__name__.lower()}")
        return self.task

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the features, in the declaration's order."""
        return tuple(feature.name for feature in self.features)

    def feature(self, name: str) -> Feature:
        """The feature `name`.

        Raises:
            KeyError: There is none.
        """
        for feature in self.features:
            if feature.name == name:
                return feature
        raise KeyError(name)

    def column(self, name: str) -> Column:
        """The column `name`.

        Raises:
            KeyError: There is none.
        """
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)

    @model_validator(mode="after")
    def _names_can_be_used(self) -> Declaration:
        words: list[Column | Feature | Target] = [*self.columns, *self.features]
        words += [self.target] if self.target else []
        for word in words:
            if fault := field_fault(word.name):
                raise ValueError(
                    f"{self.name}: the {type(word).__name__.lower()} {word.name!r} can't be called so. {fault} "
                    f"Give it another name, and the column's to `sql`: sql='t.{quoted(word.name)}'."
                )
        if self.target is not None and self.target.name in ANSWER_FIELDS:
            raise ValueError(
                f"{self.name}: the target can't be called {self.target.name!r}, for every answer has a field of that "
                f"name. Give it another name, and the column's to `sql`: sql='t.{quoted(self.target.name)}'."
            )
        return self

    @model_validator(mode="after")
    def _names_are_known(self) -> Declaration:
        names = [column.name for column in self.columns] + list(self.feature_names)
        names += [self.target.name] if self.target else []
        if len(set(names)) != len(names):
            raise ValueError(f"{self.name}: a column stands twice")
        source = self.source
        named = {source.entity, source.entity_name, source.time} - {""}
        wanted = {*source.key, *named, *self.request_columns}
        if unknown := wanted - set(names):
            raise ValueError(f"{self.name}: {sorted(unknown)} are not declared as columns")
        if (self.target is None) != (self.task.kind == "clustering"):
            raise ValueError(f"{self.name}: a clustering has no target, every other task has one")
        if unknown := set(self.example) - set(names):
            raise ValueError(f"{self.name}: the example has undeclared fields {sorted(unknown)}")
        return self
