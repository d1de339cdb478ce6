"""State machines as CloudFormation has them: the definition may be YAML, and substitutions may be numbers.

Source: CloudFormation's page on ``AWS::StepFunctions::StateMachine``, ``DefinitionS3Location`` and
``DefinitionSubstitutions``.
"""

import json
from typing import Any, override

import yaml
from localstack.services.cloudformation.resource_provider import ResourceProvider
from localstack.services.stepfunctions.resource_providers.aws_stepfunctions_statemachine import (
    StepFunctionsStateMachineProvider,
)

from spot_sandbox.cloudformation.api_resource import Model


class StatesStateMachine(StepFunctionsStateMachineProvider):
    """``AWS::StepFunctions::StateMachine``."""

    @override
    def _get_definition(self, model: Model, s3_client: Any) -> str:
        substitutions = model.get("DefinitionSubstitutions") or {}
        texts = {name: _text(value) for name, value in substitutions.items()}
        definition = super()._get_definition({**model, "DefinitionSubstitutions": texts}, s3_client)
        if aliases := sorted({str(event.anchor) for event in yaml.parse(definition) if isinstance(event, yaml.AliasEvent)}):
            # CloudFormation's reader takes an alias for a text, the anchor's name, and Step Functions refuses what comes of it.
            raise ValueError(f"InvalidDefinition: Invalid State Machine Definition: 'SCHEMA_VALIDATION_FAILED' at the aliases {', '.join(aliases)}")
        # JSON is YAML; what is YAML becomes JSON.
        return json.dumps(yaml.safe_load(definition))


STATES_TYPES: dict[str, type[ResourceProvider]] = {
    "AWS::StepFunctions::StateMachine": StatesStateMachine,
}


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
