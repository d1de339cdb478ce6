"""The only place that knows AWS: one module for each service, in our language. No botocore dictionary leaves it."""
