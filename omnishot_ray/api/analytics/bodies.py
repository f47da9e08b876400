"""Bodies of the intake: their shape, checked by pydantic. Unknown fields are passed over."""

from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from omnishot_ray.errors import FieldError, InvalidParameters
from omnishot_ray.metrics.funnel import Step
from omnishot_ray.metrics.vitals import Rating, VitalName

_MOST_FAULTS = 10

Identifier = Annotated[str, Field(max_length=128)]
Page = Annotated[str, Field(max_length=2048, description="A path or an address")]
Label = Annotated[str, Field(max_length=64)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_./ -]{0,63}$")]
Number = Annotated[float, Field(allow_inf_nan=False)]
Timestamp = Annotated[
    Number | Annotated[str, Field(max_length=40)],
    Field(description="Unix seconds or milliseconds, or ISO 8601; without one: now"),
]


class _Item(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)

    session_id: Identifier | None = None
    timestamp: Timestamp | None = None
    page: Page | None = None
    device: Label | None = None


class VitalItem(_Item):
    """One web vital of one page view."""

    name: VitalName
    value: Annotated[float, Field(ge=0, allow_inf_nan=False, description="ms; of CLS no unit")]
    rating: Rating | None = None
    connection: Label | None = None


class EventItem(_Item):
    """Something that happened."""

    type: Name
    session_id: Annotated[Identifier, Field(min_length=1)]
    data: dict[str, Any] | None = None


class StepItem(_Item):
    """A session has come to a step of the funnel."""

    session_id: Annotated[Identifier, Field(min_length=1)]
    step: Step
    user_id: Identifier | None = None
    segment: Label | None = None
    effect_id: Identifier | None = None


class AlertItem(_Item):
    """A front end's own complaint."""

    name: Name
    severity: Literal["info", "warning", "critical"] = "warning"
    message: Annotated[str, Field(max_length=500)] | None = None
    value: Number | None = None
    threshold: Number | None = None


Item = VitalItem | EventItem | StepItem | AlertItem


class Kind:
    """One kind of body: a list under its name; `alone`: or one item by itself."""

    def __init__(self, name: str, item: type[Item], alone: bool = False) -> None:
        self.name = name
        self._alone = alone
        self._item = item
        self._adapter: TypeAdapter[list[Any]] = TypeAdapter(list[item])  # type: ignore[valid-type]

    def read(self, body: bytes, most: int) -> list[Any]:
        """The items of a body.

        Raises:
            InvalidParameters: it is no JSON, of another shape, or a list of none or too many.
        """
        try:
            document = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise InvalidParameters(
                f"The body is no JSON ({error.msg}); send {self._right}. JSON knows no NaN or "
                "Infinity."
            ) from None
        if self._alone and isinstance(document, dict) and self.name not in document:
            document = {self.name: [document]}
        items = document.get(self.name) if isinstance(document, dict) else None
        if not isinstance(items, list) or not items:
            raise InvalidParameters(f"Send {self._right}.")
        if len(items) > most:
            raise InvalidParameters(
                f"{self.name}: {len(items)} at once; send at most {most} in one request.",
                (FieldError(self.name, f"at most {most}"),),
            )
        try:
            return self._adapter.validate_python(items)
        except ValidationError as error:
            faults = error.errors(include_url=False, include_context=False, include_input=False)
            fields = tuple(
                FieldError(_place(self.name, fault["loc"])[:200], fault["msg"])
                for fault in faults[:_MOST_FAULTS]
            )
            more = f" and {len(faults) - _MOST_FAULTS} more" if len(faults) > _MOST_FAULTS else ""
            first = f"{fields[0].name}: {fields[0].detail}"
            raise InvalidParameters(f"{first}{more}.", fields) from None

    def schema(self, most: int) -> dict[str, Any]:
        """As JSON schema, without references."""
        inlined = _inline(TypeAdapter(self._item).json_schema(), {})
        batch = {
            "type": "object",
            "required": [self.name],
            "properties": {
                self.name: {"type": "array", "minItems": 1, "maxItems": most, "items": inlined}
            },
        }
        if not self._alone:
            return batch
        single = {**inlined, "not": {"required": [self.name]}}
        return {"anyOf": [batch, single]}

    @property
    def _right(self) -> str:
        alone = " or one alone" if self._alone else ""
        return f'an object with a list, {{"{self.name}": [{{…}}]}}{alone}'


KINDS = {
    "metrics": Kind("metrics", VitalItem),
    "alerts": Kind("alerts", AlertItem, alone=True),
    "steps": Kind("steps", StepItem, alone=True),
    "events": Kind("events", EventItem),
}


def _place(name: str, location: tuple[int | str, ...]) -> str:
    """`metrics[2].value`."""
    return name + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)


def _inline(schema: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(schema, list):
        return [_inline(one, definitions) for one in schema]
    if not isinstance(schema, dict):
        return schema
    definitions = schema.get("$defs", definitions)
    if "$ref" in schema:
        return _inline(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    return {
        name: _inline(value, definitions)
        for name, value in schema.items()
        if name not in ("$defs", "title")
    }
