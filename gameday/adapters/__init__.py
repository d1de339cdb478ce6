"""The ports on AWS: the only place here that knows boto3. One module per service, named for what we want of it."""
