"""What the sandbox adds to AWS's command line: the folder is on the path of `.venv`, so that its `aws` can import it."""
