"""What the resource types have in common: properties in, API calls out.

`Ref` is the primary identifier of a type's schema, and `GetAtt` reads the properties that a call has added to the model.
"""

import json
from typing import Any, ClassVar, override

from localstack.services.cloudformation.provider_utils import generate_default_name
from localstack.services.cloudformation.resource_provider import (
    OperationStatus,
    ProgressEvent,
    ResourceProvider,
    ResourceRequest,
)

from spot_sandbox.cloudformation.shapes import arguments_for

Model = dict[str, Any]
type Event = ProgressEvent[Model]
type Request = ResourceRequest[Model]


class ApiResource(ResourceProvider[Model]):
    """A resource made, changed and removed by API calls that answer at once.

    A subclass gives `service` and its schema, and `make`, `change` and `remove`, which work on the model in place.
    """

    service: ClassVar[str]

    @override
    def create(self, request: Request) -> Event:
        model = dict(request.desired_state)
        self.make(self._client(request), model, request)
        return succeeded(model)

    @override
    def update(self, request: Request) -> Event:
        previous = dict(request.previous_state or {})
        kept = {name: previous[name] for name in self._read_only() if name in previous}
        model = {**kept, **request.desired_state}
        self.change(self._client(request), model, previous)
        return succeeded(model)

    @override
    def delete(self, request: Request) -> Event:
        self.remove(self._client(request), dict(request.previous_state or request.desired_state))
        return succeeded({})

    def make(self, client: Any, model: Model, request: Request) -> None:
        """Create it; add to the model what `Ref` and `GetAtt` read."""
        raise NotImplementedError

    def change(self, client: Any, model: Model, previous: Model) -> None:
        """Bring it from `previous` to `model`."""
        raise NotImplementedError

    def remove(self, client: Any, model: Model) -> None:
        """Delete it."""
        raise NotImplementedError

    def _client(self, request: Request) -> Any:
        return getattr(request.aws_client_factory, self.service)

    def _read_only(self) -> list[str]:
        """What the caller does not give at an update: identifiers and attributes, and a name that was generated."""
        paths = [*self.SCHEMA["primaryIdentifier"], *self.SCHEMA.get("readOnlyProperties", [])]
        return [path.removeprefix("/properties/") for path in paths]


def succeeded(model: Model) -> Event:
    """The answer of an operation that is done."""
    return ProgressEvent(status=OperationStatus.SUCCESS, resource_model=model)


def call(client: Any, operation: str, model: Model) -> dict[str, Any]:
    """The arguments of an operation, from the properties that it knows."""
    arguments: dict[str, Any] = arguments_for(client.meta.service_model.operation_model(operation).input_shape, model)
    return arguments


def generated_name(request: Request) -> str:
    """A name made of stack, logical id and chance, as CloudFormation makes one."""
    name: str = generate_default_name(stack_name=request.stack_name, logical_resource_id=request.logical_resource_id)
    return name


def json_text(document: object) -> str:
    """A document that a template gives as text or as an object."""
    return document if isinstance(document, str) else json.dumps(document)
