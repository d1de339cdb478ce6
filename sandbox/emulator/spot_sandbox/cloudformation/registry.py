"""Which class stands for which resource type, before LocalStack's own are asked."""

from localstack.services.cloudformation.resource_provider import ResourceProvider

from spot_sandbox.cloudformation import mended_types, resource_types
from spot_sandbox.cloudformation.iam_types import IAM_TYPES
from spot_sandbox.cloudformation.states_types import STATES_TYPES

RESOURCE_TYPES: dict[str, type[ResourceProvider]] = {
    "AWS::CloudWatch::Alarm": mended_types.CloudWatchAlarm,
    "AWS::CloudWatch::Dashboard": resource_types.CloudWatchDashboard,
    "AWS::DynamoDB::Table": mended_types.DynamoDbTable,
    "AWS::EC2::LaunchTemplate": resource_types.Ec2LaunchTemplate,
    "AWS::Events::Archive": resource_types.EventsArchive,
    "AWS::Events::Rule": mended_types.EventsRule,
    "AWS::FIS::ExperimentTemplate": resource_types.FisExperimentTemplate,
    "AWS::IAM::InstanceProfile": mended_types.IamInstanceProfile,
    "AWS::KMS::Key": mended_types.KmsKey,
    "AWS::Lambda::EventInvokeConfig": mended_types.LambdaEventInvokeConfig,
    "AWS::Logs::LogGroup": mended_types.LogsLogGroup,
    "AWS::Logs::MetricFilter": resource_types.LogsMetricFilter,
    "AWS::Logs::QueryDefinition": resource_types.LogsQueryDefinition,
    "AWS::Logs::ResourcePolicy": resource_types.LogsResourcePolicy,
    "AWS::S3::Bucket": mended_types.S3Bucket,
    "AWS::S3::BucketPolicy": mended_types.S3BucketPolicy,
    "AWS::SNS::TopicPolicy": mended_types.SnsTopicPolicy,
    "AWS::SQS::QueuePolicy": mended_types.SqsQueuePolicy,
    "AWS::SSM::Document": resource_types.SsmDocument,
    **IAM_TYPES,
    **STATES_TYPES,
}
