"""A resource that a changed parameter adds or takes away, where others name it.

LocalStack works each value out twice, as it was before a change and as it is after it, and refuses the change if a resource that is named
exists on one of the sides only, though nobody wants to know that side: a stack could not be given its conditional part by an update.
"""

from collections.abc import Callable
from typing import Any

from localstack.services.cloudformation.engine.v2.change_set_model import Nothing, is_nothing
from localstack.services.cloudformation.engine.v2.change_set_model_preproc import ChangeSetModelPreproc

type Resolve = Callable[[ChangeSetModelPreproc, str | list[str], bool], Any]


def install() -> None:
    """Let there be no value on the side on which there is no resource.

    That none is named in vain, cfn-lint sees.
    """
    ChangeSetModelPreproc._resolve_attribute = _where_it_exists(ChangeSetModelPreproc._resolve_attribute)  # noqa: SLF001  LocalStack offers no hook here


def _where_it_exists(resolve: Resolve) -> Resolve:
    def resolve_attribute(self: ChangeSetModelPreproc, arguments: str | list[str], select_before: bool) -> Any:  # noqa: FBT001  its own signature
        name = (arguments.split(".") if isinstance(arguments, str) else arguments)[0]
        return resolve(self, arguments, select_before) if _exists(self, name, select_before) else Nothing

    return resolve_attribute


def _exists(preproc: ChangeSetModelPreproc, name: str, before: bool) -> bool:  # noqa: FBT001  a side
    resources = preproc._change_set.update_model.node_template.resources.resources  # noqa: SLF001  as above
    found = next((node for node in resources if node.name == name), None)
    if found is None or is_nothing(found.condition_reference):
        return True
    condition = preproc._resolve_condition(found.condition_reference.value)  # noqa: SLF001  as above
    side = condition.before if before else condition.after
    return not is_nothing(side) and bool(side)
