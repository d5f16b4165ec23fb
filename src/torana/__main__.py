"""`python -m torana` is `torana`."""

from torana.cli.main import main

main()
