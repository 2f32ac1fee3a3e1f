"""What `bench/compare` and `bench/report` are made of. Python's standard library only: nothing to install."""
