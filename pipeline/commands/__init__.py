"""One file per command of `derain`. Heavy libraries are imported inside the functions, so that --help stays quick."""
