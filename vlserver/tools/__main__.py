"""`python -m vlserver.tools`: the `vldb` command from a checkout."""

import sys

from vlserver.tools.command import main

sys.exit(main())
