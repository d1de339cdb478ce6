"""DynamoDB and its streams, as moto has them, one call at a time.

moto's tables are not made for threads, so one lock goes round every call. Where moto differs from DynamoDB in what
a stream or a transaction shows, its methods are replaced here:

- one change, one stream record: an update that creates an item is one INSERT, an update or put that changes nothing
  is no record (moto: two INSERTs, and a MODIFY);
- a transaction that is cancelled leaves no trace in the stream;
- PartiQL writes are UpdateItem, PutItem and DeleteItem under another name, with a condition failed for an item
  that is not there (moto: no error, and a record for an item deleted and one for an item created).
"""

import copy
import json
import threading
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from localstack.aws.api import CommonServiceException, RequestContext, ServiceRequest, ServiceResponse
from localstack.aws.skeleton import DispatchTable
from localstack.aws.spec import load_service
from localstack.services.moto import call_moto
from moto.core.exceptions import JsonRESTError
from moto.dynamodb.comparisons import get_filter_expression
from moto.dynamodb.exceptions import (
    ConditionalCheckFailed,
    MultipleTransactionsException,
    TooManyTransactionsException,
    TransactionCanceledException,
)
from moto.dynamodb.models import DynamoDBBackend, dynamodb_backends
from moto.dynamodb.models.dynamo_type import Item
from moto.dynamodb.models.table import StreamShard, Table
from moto.dynamodb.parsing.expressions import UpdateExpressionParser
from moto.dynamodbstreams.models import DynamoDBStreamsBackend

from spot_sandbox.partiql import Request, StatementError, is_write, table_name, translate

_LOCK = threading.RLock()
_MAX_STATEMENTS = 25
_MAX_TRANSACTION = 100
_KEPT_ITERATORS = 5_000

Handler = Callable[[RequestContext, ServiceRequest], Any]
_BATCH_ERRORS = {
    "ConditionalCheckFailedException": "ConditionalCheckFailed",
    "ResourceNotFoundException": "ResourceNotFound",
    "ValidationException": "ValidationError",
    "DuplicateItemException": "DuplicateItem",
}
"""The codes of BatchStatementError for those of single calls."""


class SpotDynamoDbProvider:
    """DynamoDB; see the module."""

    service: ClassVar[str] = "dynamodb"
    version: ClassVar[str] = "2012-08-10"

    def handlers(self) -> dict[str, Handler]:
        """The operations that are not simply moto's."""
        return {"BatchExecuteStatement": self.batch_execute_statement, "ExecuteStatement": self.execute_statement}

    def batch_execute_statement(self, context: RequestContext, request: ServiceRequest) -> ServiceResponse:
        """Carry out up to 25 statements, all reads or all writes; each has its own error in its own response."""
        statements = dict(request)["Statements"]
        _check_batch(statements)
        return {"Responses": [_batch_response(context, statement) for statement in statements]}

    def execute_statement(self, context: RequestContext, request: ServiceRequest) -> ServiceResponse:
        """Carry out one statement."""
        statement = dict(request)
        if not is_write(statement["Statement"]):
            return call_moto(context)
        try:
            attributes = _execute(context, statement)
        except StatementError as error:
            raise CommonServiceException("ValidationException", str(error)) from error
        except JsonRESTError as error:
            raise CommonServiceException(error.relative_error_type, error.message) from error
        return {"Items": [attributes] if attributes else []}


class SpotDynamoDbStreamsProvider:
    """The streams of those tables."""

    service: ClassVar[str] = "dynamodbstreams"
    version: ClassVar[str] = "2012-08-10"

    def handlers(self) -> dict[str, Handler]:
        """None: all is moto's, as mended by `install`."""
        return {}


def dispatch_table(provider: SpotDynamoDbProvider | SpotDynamoDbStreamsProvider) -> DispatchTable:
    """Every operation of the service, under the lock."""
    own = provider.handlers()
    operations = load_service(provider.service).operation_names
    return {name: _locked(own.get(name, _forward)) for name in operations}


def _forward(context: RequestContext, _request: ServiceRequest) -> Any:
    return call_moto(context)


def _locked(handler: Handler) -> Handler:
    def locked(context: RequestContext, request: ServiceRequest) -> Any:
        with _LOCK:
            return handler(context, request)

    return locked


# PartiQL


def _check_batch(statements: list[dict[str, Any]]) -> None:
    if not 0 < len(statements) <= _MAX_STATEMENTS:
        msg = (
            "1 validation error detected: Value at 'statements' failed to satisfy constraint: Member must have "
            f"length less than or equal to {_MAX_STATEMENTS}"
        )
        raise CommonServiceException("ValidationException", msg)
    try:
        kinds = {is_write(statement["Statement"]) for statement in statements}
    except StatementError as error:
        raise CommonServiceException("ValidationException", str(error)) from error
    if len(kinds) > 1:
        msg = "Transactions and batches are either all reads or all writes."
        raise CommonServiceException("ValidationException", msg)


def _batch_response(context: RequestContext, statement: dict[str, Any]) -> dict[str, Any]:
    try:
        name = table_name(statement["Statement"])
        attributes = _execute(context, statement)
    except StatementError as error:
        return {"Error": {"Code": "ValidationError", "Message": str(error)}}
    except JsonRESTError as error:
        return {"Error": _batch_error(error)}
    return {"TableName": name, "Item": attributes} if attributes else {"TableName": name}


def _batch_error(error: JsonRESTError) -> dict[str, Any]:
    code = error.relative_error_type
    described = {"Code": _BATCH_ERRORS.get(code, code), "Message": error.message}
    item = json.loads(error.description).get("Item")
    return described | {"Item": item} if item else described


def _execute(context: RequestContext, statement: dict[str, Any]) -> dict[str, Any]:
    """Carry out a statement; return the attributes that RETURNING or SELECT asks for."""
    backend: DynamoDBBackend = dynamodb_backends[context.account_id][context.region]
    table = backend.get_table(table_name(statement["Statement"]))
    names = [table.hash_key_attr, *([table.range_key_attr] if table.range_key_attr else [])]
    request = translate(statement["Statement"], statement.get("Parameters") or [], names)
    before = copy.deepcopy(_stored(backend, table, request.arguments.get("Key") or request.arguments["Item"]))
    if request.operation == "GetItem":
        return _selected(before, request)
    after = _apply(backend, request, statement.get("ReturnValuesOnConditionCheckFailure"))
    returned = request.arguments.get("ReturnValues", "NONE")
    shown = before if returned.endswith("OLD") else after if returned.endswith("NEW") else None
    attributes: dict[str, Any] = shown.to_json()["Attributes"] if shown else {}
    return attributes


def _selected(item: Item | None, request: Request) -> dict[str, Any]:
    """The item's attributes, or those of them that are named (whole attributes, not paths into them)."""
    attributes: dict[str, Any] = item.to_json()["Attributes"] if item else {}
    if "ProjectionExpression" not in request.arguments:
        return attributes
    wanted = request.arguments["ExpressionAttributeNames"].values()
    return {name: value for name, value in attributes.items() if name in wanted}


def _apply(backend: DynamoDBBackend, request: Request, on_failure: str | None) -> Item | None:
    """Carry out the request; return the item as it is then."""
    arguments = request.arguments
    conditions = {
        "condition_expression": arguments.get("ConditionExpression"),
        "expression_attribute_names": arguments.get("ExpressionAttributeNames", {}),
        "expression_attribute_values": arguments.get("ExpressionAttributeValues", {}),
        "return_values_on_condition_check_failure": on_failure,
    }
    name = arguments["TableName"]
    match request.operation:
        case "UpdateItem":
            expression = arguments["UpdateExpression"]
            return backend.update_item(name, arguments["Key"], update_expression=expression, **conditions)
        case "PutItem":
            return _insert(backend, name, arguments["Item"], conditions)
        case _:
            backend.delete_item(name, arguments["Key"], **conditions)
            return None


def _insert(backend: DynamoDBBackend, name: str, item: dict[str, Any], conditions: dict[str, Any]) -> Item:
    try:
        return backend.put_item(name, item, **conditions)
    except ConditionalCheckFailed as error:
        code = "com.amazonaws.dynamodb.v20120810#DuplicateItemException"
        raise JsonRESTError(code, "Duplicate primary key exists in table") from error


# Mending moto


def install() -> None:
    """Replace the methods of moto whose effect differs from DynamoDB's."""
    DynamoDBBackend.update_item = _one_record(DynamoDBBackend.update_item)
    DynamoDBBackend.transact_write_items = _transact_write_items
    StreamShard.add = _unless_equal(StreamShard.add)
    DynamoDBStreamsBackend.get_records = _bounded_iterators(DynamoDBStreamsBackend.get_records)


def _one_record(update_item: Callable[..., Item]) -> Callable[..., Item]:
    """Keep the stream still while moto first creates an item and then fills it; then add what it came to."""

    def update(self: DynamoDBBackend, table_name: str, key: dict[str, Any], *args: Any, **kwargs: Any) -> Item:
        table = self.get_table(table_name)
        before = copy.deepcopy(_stored(self, table, key))
        shard, table.stream_shard = table.stream_shard, None
        try:
            item = update_item(self, table_name, key, *args, **kwargs)
        except BaseException:
            _restore(self, table, key, before)
            raise
        finally:
            table.stream_shard = shard
        if shard is not None:
            shard.add(before, item)
        return item

    return update


def _unless_equal(add: Callable[..., None]) -> Callable[..., None]:
    def add_change(self: StreamShard, old: Item | None, new: Item | None) -> None:
        if old is None or new is None or old.to_json() != new.to_json():
            add(self, old, new)

    return add_change


def _bounded_iterators(get_records: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """Forget the oldest iterators: every poll makes one, and DynamoDB's own expire after 15 minutes."""

    def get(self: DynamoDBStreamsBackend, iterator_arn: str, limit: int) -> dict[str, Any]:
        if len(self.shard_iterators) > 2 * _KEPT_ITERATORS:
            self.shard_iterators = dict(list(self.shard_iterators.items())[-_KEPT_ITERATORS:])
        return get_records(self, iterator_arn, limit)

    return get


def _transact_write_items(self: DynamoDBBackend, transact_items: list[dict[str, Any]]) -> None:
    """All or nothing: first every condition, then every write, and all taken back if one of them is refused."""
    if len(transact_items) > _MAX_TRANSACTION:
        raise TooManyTransactionsException
    actions = [_Action(self, kind, action) for item in transact_items for kind, action in item.items()]
    if len({action.identity for action in actions}) < len(actions):
        raise MultipleTransactionsException
    failures = [action.failure() for action in actions]
    if any(code is not None for code, _, _ in failures):
        raise TransactionCanceledException(failures)
    _apply_all(actions)


def _apply_all(actions: "list[_Action]") -> None:
    shards = {id(action.table): (action.table, action.table.stream_shard) for action in actions}
    lengths = [(shard, len(shard.items)) for _, shard in shards.values() if shard is not None]
    try:
        for action in actions:
            action.apply()
    except BaseException:
        for action in actions:
            action.undo()
        for shard, length in lengths:
            del shard.items[length:]
        raise


class _Action:
    """One Put, Update, Delete or ConditionCheck of a transaction."""

    def __init__(self, backend: DynamoDBBackend, kind: str, action: Mapping[str, Any]) -> None:
        self._backend = backend
        self._kind = kind
        self._action = action
        self.table: Table = backend.get_table(action["TableName"])
        self._key = self._key_of_action()
        self._before = copy.deepcopy(_stored(backend, self.table, self._key))

    @property
    def identity(self) -> tuple[str, str]:
        return self.table.name, str(sorted(self._key.items()))

    def failure(self) -> tuple[str | None, str | None, dict[str, Any] | None]:
        """Code, message and old item as `TransactionCanceledException` wants them; all None when the condition holds."""
        condition = get_filter_expression(
            self._action.get("ConditionExpression"),
            self._action.get("ExpressionAttributeNames"),
            self._action.get("ExpressionAttributeValues"),
        )
        if condition.expr(self._before):
            return None, None, None
        wanted = self._action.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD" and self._before is not None
        old = self._before.to_json()["Attributes"] if wanted and self._before is not None else None
        return "ConditionalCheckFailed", str(ConditionalCheckFailed().message), old

    def apply(self) -> None:
        names = self._action.get("ExpressionAttributeNames")
        values = self._action.get("ExpressionAttributeValues")
        match self._kind:
            case "Put":
                self._backend.put_item(self.table.name, self._action["Item"], overwrite=True)
            case "Delete":
                self._backend.delete_item(self.table.name, self._key)
            case "Update":
                UpdateExpressionParser.make(self._action["UpdateExpression"])
                self._backend.update_item(
                    self.table.name,
                    self._key,
                    update_expression=self._action["UpdateExpression"],
                    expression_attribute_names=names,
                    expression_attribute_values=values,
                )
            case _:
                pass  # ConditionCheck changes nothing

    def undo(self) -> None:
        _restore(self._backend, self.table, self._key, self._before)

    def _key_of_action(self) -> dict[str, Any]:
        if self._kind != "Put":
            return dict(self._action["Key"])
        names = [self.table.hash_key_attr, *([self.table.range_key_attr] if self.table.range_key_attr else [])]
        return {name: self._action["Item"][name] for name in names}


def _stored(backend: DynamoDBBackend, table: Table, key: Mapping[str, Any]) -> Item | None:
    hash_value, range_value = backend.get_keys_value(table, key)
    return table.get_item(hash_value, range_value)


def _restore(backend: DynamoDBBackend, table: Table, key: Mapping[str, Any], before: Item | None) -> None:
    """Put an item back as it was, unseen by the stream."""
    shard, table.stream_shard = table.stream_shard, None
    try:
        if before is None:
            hash_value, range_value = backend.get_keys_value(table, key)
            table.delete_item(hash_value, range_value)
        else:
            table.put_item(before.to_json()["Attributes"], overwrite=True)
    finally:
        table.stream_shard = shard
