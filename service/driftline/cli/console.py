"""``driftline console``: a web page of all models, from the output topics."""

from __future__ import annotations

from pathlib import Path

import typer

app = typer.Typer(add_completion=False)


@app.command()
def console(
    config: Path | None = typer.Option(None, "--config", "-c", help="Configuration file (YAML)."),
    host: str = typer.Option("127.0.0.1", "--host", help="Where to listen; others need --token-file."),
    port: int = typer.Option(9465, "--port", min=1, max=65_535),
    token_file: Path | None = typer.Option(
        None, "--token-file", help="A file with a token: who shows it may mute and acknowledge."
    ),
    name: list[str] = typer.Option(
        [], "--name", help="A name by which a proxy asks for it; other names are refused."
    ),
) -> None:
    """Show models by health, signals by drift, performance and alerts in a browser, live.

    Built from the alerts and reports topics alone, whatever cluster writes them; it keeps nothing of its own.
    """
    from driftline.config import load_settings
    from driftline.console.access import read_token
    from driftline.console.server import Options, serve
    from driftline.publish import logs

    settings = load_settings(config)
    logs.setup(settings.log_format)
    token = None if token_file is None else read_token(token_file)
    typer.echo(f"http://{'127.0.0.1' if host in {'localhost', '::1'} else host}:{port}", err=True)
    serve(settings, Options(host, port, token, tuple(name)))
