"""The base of every payload: a frozen, closed pydantic model with its type's name, version and what evidence keeps of it."""

from __future__ import annotations

from functools import cache
from typing import Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, ConfigDict

Outcome = Literal["requested", "ok", "waiting", "refused", "failed"]

REGISTRY: dict[tuple[str, int], type[Message]] = {}

M = TypeVar("M", bound="type[Message]")
P = TypeVar("P", bound="Part")


class Part(BaseModel):
    """A piece of a message: frozen, and closed against unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_timedelta="iso8601")


def trusted(cls: type[P], fields: dict[str, Any]) -> P:
    """An instance of values that were validated before: all of its fields, in their order. Nothing is checked, no default looked for."""
    made = cls.__new__(cls)
    put = object.__setattr__
    put(made, "__dict__", fields)
    put(made, "__pydantic_fields_set__", _names_of(cls))
    put(made, "__pydantic_extra__", None)
    put(made, "__pydantic_private__", None)
    return made


@cache
def _names_of(cls: type[Part]) -> set[str]:
    # one for all instances: they are frozen, and a copy of one takes a copy of this
    return set(cls.model_fields)


class Message(Part):
    """A payload. Subclasses are registered by `@message`; the docstring is the schema's description.

    `SUBJECT` names the kind of thing the message is about and the field that holds its id; `FACTS` are the fields an evidence
    record copies (dotted names reach into parts); `OUTCOME` is how the record reads for an auditor.
    """

    TYPE: ClassVar[str] = ""
    VERSION: ClassVar[int] = 1
    SUBJECT: ClassVar[tuple[str, str] | None] = None
    FACTS: ClassVar[tuple[str, ...]] = ()
    OUTCOME: ClassVar[Outcome] = "ok"

    def to_data(self) -> dict[str, Any]:
        """The payload as JSON-ready values; absent optionals are left out, so that adding one never changes old bytes."""
        return self.model_dump(mode="json", exclude_none=True)


def message(
    version: int = 1,
    *,
    subject: tuple[str, str] | None = None,
    facts: tuple[str, ...] = (),
    outcome: Outcome = "ok",
) -> Any:
    """Registers a payload class under its name and version."""

    def register(cls: M) -> M:
        cls.TYPE = cls.__name__.removesuffix(f"V{version}") if version > 1 else cls.__name__
        cls.VERSION, cls.SUBJECT, cls.FACTS, cls.OUTCOME = version, subject, facts, outcome
        if (cls.TYPE, version) in REGISTRY:
            raise ValueError(f"{cls.TYPE}.v{version} is defined twice")
        REGISTRY[cls.TYPE, version] = cls
        return cls

    return register


def payload_class(type_name: str, version: int) -> type[Message] | None:
    """The class of `<type_name>.v<version>`, or None when this release does not know it."""
    return REGISTRY.get((type_name, version))
