"""The agent: runs one attempt of a job on a Spot Instance, saves its work, and hands it over when EC2 takes the instance back.

The rooms, from the inside out (nothing imports upward):

- ``errors``, ``job``: what goes wrong, and the job's item as a value;
- ``knowledge``: what the agent knows, and how each fact changes it; ``decisions``: what to do next. Both pure, time is an argument;
- ``ports``: what the agent needs of the world; ``loop``: decide, carry out, wait;
- the adapters: ``clients``, ``jobs_table``, ``checkpoint_store``, ``tasks``, ``measures`` (AWS), ``metadata`` (IMDS), ``program``,
  ``workplace``, ``saving`` (the job's program and its directory), ``requests`` (the hook), ``machine`` and ``story``;
- ``settings`` and ``wiring`` build them; ``__main__`` runs them.

Programs of their own: ``demo_job`` (the built-in demonstration job) and ``ask_checkpoint`` (what the hook runs).

It runs on Amazon Linux 2023: Python 3.9 and the distribution's own boto3, so it uses nothing newer.
"""
