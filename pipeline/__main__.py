"""`python -m pipeline` is `derain`."""

import sys

from pipeline.cli import main

sys.exit(main())
