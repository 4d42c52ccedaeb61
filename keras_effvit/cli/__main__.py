"""`python -m keras_effvit.cli`, for where the script of that name is not on the path."""

import sys

from keras_effvit.cli import main

sys.exit(main())
