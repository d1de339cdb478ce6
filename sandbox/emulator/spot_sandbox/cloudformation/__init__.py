"""CloudFormation: the resource types that LocalStack only pretends to deploy, and an end to pretending."""
