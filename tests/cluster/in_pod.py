"""`torana` as in a pod, but for the place where the service account is mounted: that is the first argument."""

from __future__ import annotations

import sys
from unittest.mock import patch

from torana.cli.main import main
from torana.config.kubernetes import api

if __name__ == "__main__":
    with patch.object(api, "SERVICE_ACCOUNT", sys.argv.pop(1)):
        main()
