"""What a notice is, what may be done about it, and in which words it is told. Standard library only: no clock, no I/O."""
