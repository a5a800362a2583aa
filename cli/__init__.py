"""The `segue` command: the only place that prints, prompts and exits."""
