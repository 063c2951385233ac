"""Measurements of this machine, for `derain bench` and `make bench`: what the network, the pipeline and the links cost,
and how near that is to what the machine can do. Comparisons are made in turn within one run."""
