"""The `torana` command; one file a subcommand. Arguments are parsed here and nothing else is done."""
