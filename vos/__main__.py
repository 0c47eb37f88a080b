"""`python -m vos`, from a checkout."""

import sys

from vos.main import main

sys.exit(main())
