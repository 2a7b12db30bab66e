"""``driftline config``: check a configuration, print its schema."""

from __future__ import annotations

import json
from pathlib import Path

import typer

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Check a configuration file; print its schema."
)


@app.command()
def check(
    config: Path | None = typer.Argument(
        None, help="Configuration file (YAML); without one: environment only."
    ),
    option: Path | None = typer.Option(None, "--config", "-c", help="The same, as `run` takes it."),
) -> None:
    """Say whether `run` would accept it; nothing is connected to."""
    from driftline.config import load_settings
    from driftline.publish.text import printable

    path = config or option
    settings = load_settings(path)
    models = settings.allowed_models()
    named = (
        "any model that events name"
        if models is None
        else f"{len(models)} model{'s' if len(models) != 1 else ''}"
    )
    topics = ", ".join(source.topic for source in settings.inputs)
    for warning in settings.warnings():
        typer.echo(f"warning: {printable(warning, 500)}", err=True)
    typer.echo(f"{path or 'environment'}: good. {named} from {topics}; revision {settings.revision()}.")


@app.command()
def schema() -> None:
    """Print the JSON Schema of a configuration file, for editors and checks."""
    from driftline.config import json_schema

    typer.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))
