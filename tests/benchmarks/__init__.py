"""What this project is measured by, side by side with the raw clients, Celery and Dramatiq.

Run from a checkout with ``make bench``; none of it is part of what users install.
"""

from typing import Final

RUN_ID: Final = "bench"
