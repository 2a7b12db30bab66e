"""``driftline topics``: show, create and check the topics of a deployment."""

from __future__ import annotations

import json
from pathlib import Path

import typer

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Show, create and check the topics of a deployment."
)

PROBLEMS = 1  # exit code of a check that found something, and of a creation that failed

CONFIG = typer.Option(
    None, "--config", "-c", help="Configuration file (YAML); without one: environment only."
)


@app.command()
def plan(
    config: Path | None = CONFIG,
    as_json: bool = typer.Option(False, "--json", help="One JSON object a topic and line."),
    rate: float | None = typer.Option(
        None, "--rate", min=1e-3, help="Events a second: first say how many partitions and workers they need."
    ),
    models: int = typer.Option(1, "--models", min=1, help="With --rate: how many models."),
    features: int = typer.Option(20, "--features", min=1, max=500, help="With --rate: of an event."),
) -> None:
    """Show the topics that `create` would make; nothing is connected to."""
    from dataclasses import asdict

    from driftline import sizing, topics
    from driftline.config import load_settings

    settings = load_settings(config)
    if rate is not None:
        load = sizing.Load(rate, models, features)
        proposal = sizing.propose(load)
        if as_json:
            typer.echo(json.dumps({"proposal": asdict(proposal)}))
        else:
            hours = settings.topics.mailbox_retention_hours
            typer.echo("\n".join(sizing.lines(load, proposal, retention_hours=hours)) + "\n")
    for spec in topics.plan(settings):
        if as_json:
            typer.echo(json.dumps(asdict(spec)))
            continue
        typer.echo(f"{spec.name}: {spec.partitions} partitions, {spec.replication} replicas. {spec.purpose}")
        for key, value in sorted(spec.config.items()):
            typer.echo(f"    {key}={value}")


@app.command()
def create(config: Path | None = CONFIG) -> None:
    """Create the topics that are missing; one that exists is never changed."""
    from driftline import topics
    from driftline.config import load_settings
    from driftline.publish.text import printable

    settings = load_settings(config)
    failed = False
    for result in topics.create(topics.admin_config(settings.kafka), topics.plan(settings)):
        failed |= result.outcome == "failed"
        detail = f": {printable(result.detail, 500)}" if result.detail else ""
        typer.echo(f"{result.name}: {result.outcome}{detail}", err=result.outcome == "failed")
    raise typer.Exit(PROBLEMS if failed else 0)


@app.command()
def check(config: Path | None = CONFIG) -> None:
    """Say what about the topics would lose data or stop a worker, and what mends it."""
    from driftline import topics
    from driftline.config import load_settings
    from driftline.publish.text import printable

    settings = load_settings(config)
    problems = topics.check(
        topics.admin_config(settings.kafka),
        topics.plan(settings),
        inputs=[source.topic for source in settings.inputs],
    )
    for problem in problems:
        typer.echo(f"{problem.topic} {printable(problem.what, 500)}\n    {printable(problem.remedy, 500)}")
    if not problems:
        typer.echo("All topics are as they have to be.")
    raise typer.Exit(PROBLEMS if problems else 0)


@app.command()
def acls(
    config: Path | None = CONFIG,
    principal: list[str] = typer.Option(
        [],
        "--principal",
        "-p",
        help="ROLE=PRINCIPAL, e.g. ingest=User:CN=ingest; default User:driftline-ROLE.",
    ),
    as_json: bool = typer.Option(
        False, "--json", help="The table instead: one JSON object a resource and line."
    ),
    check_roles: str = typer.Option(
        "", "--check", help="Ask the broker what this user may do, as one that has these ROLES (with commas)."
    ),
) -> None:
    """Print the rights that each role needs, as kafka-acls commands; or check those of this user."""
    from driftline import acls as rights
    from driftline import topics
    from driftline.config import load_settings
    from driftline.publish.text import printable

    settings = load_settings(config)
    if check_roles:
        roles = rights.parse_roles(check_roles)
        differences = rights.compare(settings, roles, topics.admin_config(settings.kafka))
        for difference in differences:
            typer.echo(printable(rights.sentence(difference), 500))
        if not differences:
            typer.echo(f"This user may do on our topics what {', '.join(roles)} needs, and nothing else.")
        raise typer.Exit(PROBLEMS if differences else 0)
    if as_json:
        for row in rights.table(settings):
            typer.echo(json.dumps(row))
        return
    principals = rights.parse_principals(principal)
    for role, what in rights.ROLES.items():
        lines = list(rights.commands(settings, {role: principals[role]}))
        for line in [f"# {role}: {what}", *lines] if lines else []:
            typer.echo(line)
