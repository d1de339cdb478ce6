"""Where the parts meet: one module for each function, so that a cold start imports only what that function uses.

Each builds its use case at the first invocation and keeps it for the life of the execution environment. A wrong setting
fails the invocation with a sentence that names it.
"""
